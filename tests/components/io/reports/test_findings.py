"""What is known of images besides their pixels, from the manifest."""

import pandas as pd

from components.core.artifacts import MANIFEST_COLUMNS
from components.io.reports.run.findings import attributes


def test_sources_stand_beside_size_orientation_format_and_color_mode() -> None:
    common = {**dict.fromkeys(MANIFEST_COLUMNS, ""), "mode": "L", "format": "PNG"}
    rows = [
        {"path": f"{label}/{camera}/{k}.png", "label": label, "status": status, "group": f"{k}",
         "width": 40 if label == "cat" else 20, "height": 30}
        for k, (label, camera, status) in enumerate(
            [("cat", "a", "used"), ("cat", "b", "used"), ("dog", "a", "used"),
             ("dog", "c", "quarantined")]
        )
    ]  # fmt: skip
    found = attributes(pd.DataFrame([{**common, **row} for row in rows]))
    assert found == {
        "size": [("40 x 30", "cat"), ("40 x 30", "cat"), ("20 x 30", "dog")],
        "orientation": [("wide", "cat"), ("wide", "cat"), ("high", "dog")],
        "format": [("PNG", "cat"), ("PNG", "cat"), ("PNG", "dog")],
        "color mode": [("L", "cat"), ("L", "cat"), ("L", "dog")],
        "source (subfolder)": [("a", "cat"), ("b", "cat"), ("a", "dog")],
    }
