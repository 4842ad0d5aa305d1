"""One family of errors: what a person can fix, told apart from internal errors by type.

    PipelineError           exit 1   the user can fix it; one line, no traceback
      InvalidParams                  params.yaml says something impossible
      InvalidData                    the image folder breaks a rule
      MissingInput                   a file or folder that a step needs is not there
      ChangedInput                   a file is not the one an earlier step saw
      Diverged                       training ran into NaN or infinity
      OutOfMemory                    a training that fits into memory in no micro-batches
    ServiceUnavailable      exit 5   MLflow, git, S3 or Kubeflow did not answer; run again
    Interrupted             exit 130 or 143   stopped by a signal after saving; run again

Every message has four parts: where, what was found, what would be right, what to do next.
Anything outside the family is an internal error: it keeps its traceback and exits 70.
"""

from collections.abc import Iterator


class PipelineError(Exception):
    """Something a person can fix. The message is the whole story, in one line."""

    exit_code = 1


class InvalidParams(PipelineError):
    """A value or a key in params.yaml is not allowed."""


class InvalidData(PipelineError):
    """The images break a rule that blocks the pipeline."""


class MissingInput(PipelineError):
    """A file or folder that this step reads does not exist."""


class ChangedInput(PipelineError):
    """A file's bytes are not the ones that an earlier step recorded."""


class ServiceUnavailable(PipelineError):
    """A service did not answer in time; running again later may succeed."""

    exit_code = 5


class Interrupted(PipelineError):
    """A signal stopped the step after its progress was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message, signal_number)
        self.exit_code = 128 + signal_number

    def __str__(self) -> str:
        return str(self.args[0])


class Diverged(PipelineError):
    """The training loss became NaN or infinite."""


class OutOfMemory(PipelineError):
    """Training needs more memory than there is, whatever the size of its micro-batches."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those behind it: what it was raised from, or while handling what.

    Each once: `raise first from second`, where `first` was being handled, makes a circle.
    """
    found: BaseException | None = error
    seen: list[BaseException] = []
    while found is not None and not any(found is each for each in seen):
        yield found
        seen.append(found)
        found = found.__cause__ or found.__context__
