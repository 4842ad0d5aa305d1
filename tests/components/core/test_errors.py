"""The family of errors: which exit code each member carries."""

import pytest

from components.core import errors


@pytest.mark.parametrize(
    "kind",
    [
        errors.PipelineError,
        errors.InvalidParams,
        errors.InvalidData,
        errors.MissingInput,
        errors.ChangedInput,
        errors.Diverged,
    ],
)
def test_what_a_person_can_fix_exits_with_1(kind: type[errors.PipelineError]) -> None:
    assert kind("where: what").exit_code == 1


def test_a_silent_service_exits_with_5() -> None:
    assert errors.ServiceUnavailable("MLflow: no answer").exit_code == 5


@pytest.mark.parametrize(("signal_number", "exit_code"), [(2, 130), (15, 143)])
def test_an_interruption_exits_as_a_shell_reports_the_signal(
    signal_number: int, exit_code: int
) -> None:
    error = errors.Interrupted("train: stopped", signal_number)
    assert (error.exit_code, str(error)) == (exit_code, "train: stopped")


def test_every_error_of_the_family_is_a_pipeline_error() -> None:
    found = [v for v in vars(errors).values() if isinstance(v, type)]
    family = [kind for kind in found if kind.__module__ == errors.__name__]
    assert len(family) == 9
    assert all(issubclass(kind, errors.PipelineError) for kind in family)


def test_errors_in_a_circle_are_named_once() -> None:
    first, second = ValueError("first"), KeyError("second")

    def fail() -> None:
        try:
            raise first
        except ValueError:
            try:
                raise second
            except KeyError:
                raise first from second

    with pytest.raises(ValueError, match="first") as caught:
        fail()
    assert [*errors.causes(caught.value)] == [first, second]
