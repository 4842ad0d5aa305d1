"""`doctor`: one row for each thing that the pipeline needs, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping

from components.core.errors import PipelineError, ServiceUnavailable
from pipeline.doctor import cluster as cluster_checks
from pipeline.doctor import costs, forecast, local
from pipeline.doctor.check import Check, CheckResult, run_check


def all_checks(
    check_params: Callable[[], None], *, cluster: bool, endpoint: str | None
) -> dict[str, Check]:
    """Name -> check, in the order of the table.

    Args:
        check_params: raises what is wrong with params.yaml.
        cluster: check the cluster, too.
        endpoint: of Kubeflow Pipelines; None = as the environment says.
    """
    checks = local.checks(check_params) | forecast.checks() | costs.checks()
    return checks | cluster_checks.checks(endpoint) if cluster else checks


def diagnose(checks: Mapping[str, Check]) -> Iterator[tuple[str, CheckResult]]:
    """Run the checks; yields each name and result as soon as it is known."""
    for name, check in checks.items():
        seconds = costs.COST_SECONDS if name == costs.COST else None
        yield name, run_check(check, seconds)


def probed(
    image: str | None, repository: str | None
) -> Generator[tuple[str, CheckResult], None, None]:
    """What pods like those of a run find on the cluster; nothing without an image.

    Close it: what it made on the cluster is deleted then, too.

    Args:
        image: of the run, pinned by its digest.
        repository: where the cluster fetches from; None = the git remote `origin`.
    """
    if image:
        from pipeline.doctor.probe import probe

        yield from probe(image, repository)


def exit_code(results: list[CheckResult]) -> int:
    """0 when nothing failed, 1 when the user can fix something, 5 when only services failed."""
    failed = [result for result in results if result.status == "fail"]
    if not failed:
        return 0
    only_services = all(result.service for result in failed)
    return ServiceUnavailable.exit_code if only_services else PipelineError.exit_code
