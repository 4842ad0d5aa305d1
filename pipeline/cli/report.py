"""The command that shows what a run gave: report."""

from __future__ import annotations

from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    """Add the command."""
    example = "Example: python -m pipeline report --no-open"
    app.command("report", rich_help_panel="project", epilog=example)(report)


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
    print(page)
    if not no_open:
        webbrowser.open(page.absolute().as_uri())
