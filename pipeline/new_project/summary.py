"""What `init` found and chose: the facts for the choices, and the lines that a person reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from components.core.artifacts import SPLITS
from components.core.errors import InvalidParams
from components.core.gate.foresight import HeldOut, foresee
from components.core.gate.model_size import weights_megabytes
from components.core.phrases import count, listing
from components.core.training import inference
from components.io import models, params
from components.io.data.cpus import usable_cpus
from components.register import RegisterParams
from pipeline import SETTINGS, foresight
from pipeline.image_folder import ImageFolder
from pipeline.new_project import choices, params_file
from pipeline.new_project.facts import SECTION, Choice, Current, Data, Machine
from pipeline.new_project.source import read_sizes

_SHOWN = 3


@dataclass(frozen=True)
class Proposal:
    """Settings for a folder of images.

    Attributes:
        source: the images.
        data: what they are like.
        choices: the settings with their reasons.
        text: params.yaml with them.
        obstacles: why the gate would still let no model pass.
        unreadable: files that were tried and are no images.
    """

    source: ImageFolder
    data: Data
    choices: list[Choice]
    text: str
    obstacles: list[str]
    unreadable: list[str]


def propose(source: ImageFolder, name: str) -> Proposal:
    """Look at images and machine, and choose.

    Args:
        source: the images.
        name: of the registered model.

    Raises:
        InvalidParams: the name is none for MLflow, or params.yaml is wrong.
        InvalidData: no image can be read.
    """
    pattern = RegisterParams.model_json_schema()["properties"]["model_name"]["pattern"]
    if not re.fullmatch(pattern, name):
        raise InvalidParams(
            f"--name is {name!r}; it should be 1 to 100 letters, digits, '-', '_' or '.', and "
            "begin with a letter or a digit."
        )
    settings = params.load(SETTINGS, foresight.Settings)
    sizes, unreadable = read_sizes(source)
    data = _data(source, settings, sizes)
    model, gate = settings.model, settings.register.gate
    chosen = choices.choose(
        name,
        data,
        _machine(model.architecture),
        Current(model.architecture, model.weights, gate),
    )
    bounds = {c.key.rpartition(".")[2]: c.value for c in chosen if "gate." in c.key}
    obstacles = foresee(
        gate.model_copy(update=bounds),
        HeldOut(data.test, None, data.test_share),
        weights_megabytes(model.architecture, len(data.test)),
    )
    text = params_file.with_choices(SETTINGS, chosen)
    return Proposal(source, data, chosen, text, obstacles, unreadable)


def found_lines(proposal: Proposal) -> Iterator[str]:
    """What was found, in a few lines."""
    source, sizes = proposal.source, proposal.data.sizes
    counts = source.counts
    fewest, most = (pick(counts, key=lambda name: counts[name]) for pick in (min, max))
    numbers = f"from {counts[fewest]:,} of {fewest} to {counts[most]:,} of {most}"
    if counts[fewest] == counts[most]:
        numbers = f"{counts[most]:,} each"
    sides = " x ".join(f"{median(side):,.0f}" for side in zip(*sizes, strict=True))
    yield (
        f"{source.root}: {count(len(source.files), 'file')} in {len(counts):,} classes, "
        f"{numbers}; median size {sides} px"
    )
    if source.by_split:
        totals = {split: sum(source.by_split[split].values()) for split in SPLITS}
        numbers = ", ".join(f"{split} {number:,}" for split, number in totals.items())
        yield f"the folder's own split is kept: {numbers}"
    if proposal.unreadable:
        shown = listing(proposal.unreadable, _SHOWN)
        yield f"no images, which validate will name one by one: {shown}"
    if source.stray:
        yield f"left out, being in no class folder: {listing(source.stray, _SHOWN)}"


def choice_rows(chosen: Sequence[Choice]) -> list[tuple[str, str, str]]:
    """Setting, value and reason of each choice."""
    return [
        (c.key, "null" if c.value is None else str(c.value).lower(), c.reason)
        for c in chosen
        if c.value is not SECTION
    ]


def _data(source: ImageFolder, settings: foresight.Settings, sizes: list[tuple[int, int]]) -> Data:
    shares = settings.validate.split
    train = source.by_split.get("train") or {
        name: round(shares["train"] * number) for name, number in source.counts.items()
    }
    return Data(
        train=train,
        test=foresight.expected_counts(source, settings.validate),
        images=source.counts,
        sizes=sizes,
        test_share=None if source.by_split else shares["test"],
    )


def _machine(architecture: str) -> Machine:
    gpu = inference.resolve_device("auto") != "cpu"
    return Machine(cpus=usable_cpus(), gpu=gpu, imagenet=models.has_imagenet(architecture))
