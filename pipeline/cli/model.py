"""Commands of the model: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export", rich_help_panel="model", epilog="Example: python -m pipeline export")(
        export
    )


def export(
    model: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Model folder of the train step.")
    ] = Path("artifacts/train/model"),
    output: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to write model.onnx and card.json to.")
    ] = Path("artifacts/export"),
) -> None:
    """Write the trained model as ONNX, if it gives the same probabilities."""
    from pipeline.export import export_onnx

    difference = export_onnx(model, output)
    print(f"{output / 'model.onnx'}: same probabilities to {difference:.1e}")
