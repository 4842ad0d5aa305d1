"""What a step cost when it ran last, as a small file beside its results."""

from pydantic import Field

from components.core.artifacts import Artifact

FILE = "cost.json"


class Cost(Artifact):
    """One execution of a step."""

    seconds: float = Field(ge=0, description="From its begin to its end.")
    processor_seconds: float = Field(ge=0, description="Of all cores together.")
    peak_mib: int = Field(ge=0, description="Most memory of the process, MiB.")
