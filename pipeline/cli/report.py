"""Commands that show what runs gave: report, ui."""

from __future__ import annotations

from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Add the commands."""
    for command, options in ((report, " --no-open"), (ui, " --port 5001")):
        name = command.__name__
        example = f"Example: python -m pipeline {name}{options}"
        app.command(name, rich_help_panel="project", epilog=example)(command)


def report(
    no_open: Annotated[
        bool, typer.Option("--no-open", help="Only write the page and print where it is.")
    ] = False,
) -> None:
    """Write the page of the run from what is in artifacts/, and open it in the browser."""
    import webbrowser

    from components import evaluate
    from components.core.errors import MissingInput
    from components.io import params
    from components.io.reports.run import usual_paths, write_page
    from components.tracking import lineage
    from pipeline import SETTINGS

    decode_params = params.load(SETTINGS, evaluate.Params).data.decode_params
    page = write_page(usual_paths(), decode_params, lineage.tags())
    if page is None:
        raise MissingInput(
            "artifacts/validate: no validated data, so there is nothing to show; run `dvc repro`."
        )
    print(page.path)
    if not no_open:
        webbrowser.open(page.path.absolute().as_uri())


def ui(
    port: Annotated[int, typer.Option(metavar="PORT", help="Of this machine.")] = 5000,
) -> None:
    """Print where runs and versions are in MLflow's UI, and serve it unless a server does."""
    from pipeline import ui as mlflow_ui
    from pipeline.cli.common import model_name

    mlflow_ui.serve(model_name(None), port)
