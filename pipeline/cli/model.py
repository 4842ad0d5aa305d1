"""Commands of the model: predict, explain, export, drift, compare."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli import registry_views
from pipeline.cli.common import (
    EXIT_NEEDS_ACTION,
    Json,
    Model,
    Trained,
    Version,
    check_settings,
    choose_model,
    print_json,
    print_table,
)

if TYPE_CHECKING:
    from pipeline.chosen_model import ChosenModel

_PANEL = "model"

_EXAMPLES = {
    "predict": "predict photos/ cell.png --csv > predictions.csv",
    "explain": "explain photos/cell.png",
    "export": "export",
    "drift": "drift /mnt/camera/today",
    "compare": "compare resnet18 resnet50 mobilenet_v3_small",
}


def add(app: typer.Typer) -> None:
    """Add the commands."""
    commands: tuple[Callable[..., object], ...] = (predict, explain, export, drift, compare)
    for command in commands:
        name = command.__name__
        example = f"Example: python -m pipeline {_EXAMPLES[name]}"
        app.command(name, rich_help_panel=_PANEL, epilog=example)(command)


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Image files, and folders of them.")
    ],
    threshold: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="P", help="Mark what is less probable: ask a person."),
    ] = 0.0,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV with the probability of every class.")
    ] = False,
    model: Model = None,
    version: Version = None,
    trained: Trained = False,
) -> int:
    """Predict the classes of images with the champion; exit 3 when a file could not be read."""
    from pipeline import predict as predicting
    from pipeline.cli import model_views as views

    started = time.monotonic()
    found = predicting.find_images(paths)
    chosen = choose_model(model, version, trained)
    loaded = predicting.load(chosen.folder)
    _announce(chosen)
    ready = time.monotonic()
    show = views.show_csv if csv else views.show_lines
    tally = show(predicting.predict(loaded, found), loaded.card.class_names, threshold)
    now = time.monotonic()
    line = views.summary(tally, threshold, loading=ready - started, predicting=now - ready)
    print(line, file=sys.stderr)
    return EXIT_NEEDS_ACTION if tally.unreadable else 0


def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image file.")],
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to write the figure to.")
    ] = Path("artifacts/explain"),
    model: Model = None,
    version: Version = None,
    trained: Trained = False,
) -> None:
    """Show where the champion looked in an image, and the training images it finds most alike."""
    from pipeline import explain as explaining
    from pipeline.cli import model_views as views

    chosen = choose_model(model, version, trained)
    _announce(chosen)
    print(*views.explained(explaining.explain(chosen, image, output, Path("cache"))), sep="\n")
    print(f"{explaining.CAUTION}", file=sys.stderr)


def _announce(chosen: ChosenModel) -> None:
    """Say which model it is, and what the gate says of it."""
    line = registry_views.printable(f"{chosen.title}: {chosen.verdict}")
    print(line, file=sys.stderr, flush=True)


def export(
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to write the files and their card to.")
    ] = Path("artifacts/export"),
    model: Model = None,
    version: Version = None,
    trained: Trained = False,
) -> int:
    """Write the champion as ONNX in fp32 and int8, each if it agrees on val; exit 3 if not."""
    from pipeline.cli import model_views as views
    from pipeline.export import export as write

    chosen = choose_model(model, version, trained)
    _announce(chosen)
    card = write(chosen, output)
    print_table(views.EXPORTED, views.exported_rows(card))
    for form in card.files:
        if form.refusal:
            print(f"! {form.name} was not written: {form.refusal}")
    print(f"{output}: card.json says how an image becomes the input, example.py does it")
    return 0 if all(form.accepted for form in card.files) else EXIT_NEEDS_ACTION


def drift(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="New images, folders too."),
    ],
    model: Model = None,
    version: Version = None,
    trained: Trained = False,
    json: Json = False,
) -> int:
    """Compare new images with those that the champion was validated on; exit 3 on alarm."""
    from pipeline import drift as drifting
    from pipeline.cli import model_views as views

    chosen = choose_model(model, version, trained)
    _announce(chosen)
    found = drifting.measure(chosen, paths)
    for path, problem in found.unreadable:
        print(f"! {views.printable(path)}: {problem}", file=sys.stderr)
    if json:
        print_json(views.drift_json(found, chosen))
    else:
        print_table(views.DRIFT, views.drift_rows(found))
        print(views.drift_summary(found))
    return EXIT_NEEDS_ACTION if found.alarm else 0


def compare(
    architectures: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Architectures, by torchvision's names.")
    ],
) -> None:
    """Train several architectures on the same data and budget, and say which to take when.

    Measured on val: the test split stays closed. A stopped comparison goes on where it was.
    """
    from pipeline import compare as comparing
    from pipeline.cli import model_views as views

    check_settings()
    found = comparing.compare(list(dict.fromkeys(architectures)))
    print_table(views.COMPARED, map(views.compared_row, found.rows))
    print(*found.advice, f"{found.table}, {found.figure.name}", found.link, sep="\n")
