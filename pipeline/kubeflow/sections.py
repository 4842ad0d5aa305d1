"""Sections of params.yaml as they travel through Kubeflow: each as JSON. Imports no kfp."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from components.io import params


def to_json(root: Path) -> dict[str, str]:
    """Section of params.yaml below `root` -> its content as JSON.

    Text, because KFP turns the whole numbers of a structure into fractions.

    Raises:
        InvalidParams: the file is not YAML.
    """
    raw = params.read_yaml(root / "params.yaml")
    # Not ASCII: YAML, which reads it again, would take JSON's surrogate pairs for two characters.
    return {name: json.dumps(content, ensure_ascii=False) for name, content in raw.items()}


def load(sections: Mapping[str, str], kind: type[params.P]) -> params.P:
    """What `params.load` would read from a file of these sections.

    Args:
        sections: name -> content as JSON, which YAML can read.
        kind: the class that names what it reads.

    Raises:
        InvalidParams: as for the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        lines = (f"{name}: {text}\n" for name, text in sections.items())
        file.write_text("".join(lines), encoding="utf-8")
        return params.load(file, kind)
