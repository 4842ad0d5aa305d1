"""What `make audit` looks for is found where it is planted."""

import email.message
from pathlib import Path
from typing import Any

import pytest

from infra import audit


class Package:
    """A distribution with these headers."""

    def __init__(self, **headers: str) -> None:
        self.metadata = email.message.Message()
        for name, value in headers.items():
            self.metadata[name.replace("_", "-")] = value


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"License_Expression": "AGPL-3.0-or-later"}, True),
        ({"License": "Server Side Public License v1\nmore"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU Affero General Public License v3"}, True),
        ({"License_Expression": "BUSL-1.1"}, True),
        ({"License": "Business Source License"}, True),
        ({"License_Expression": "Apache-2.0 OR GPL-2.0-or-later"}, False),
        ({"License_Expression": "LGPL-3.0-only"}, False),
        ({"License_Expression": "BSD-3-Clause"}, False),
        ({}, False),
    ],
)
def test_licenses_that_reach_over_a_network_are_refused(
    headers: dict[str, str], refused: bool
) -> None:
    package: Any = Package(Name="planted", **headers)
    assert bool(audit.forbidden(audit.licenses([package]))) is refused


LOCK = "diskcache==5.6.3 \\\n    --hash=sha256:0\nkfp==2.17.3 \\\n"


@pytest.mark.parametrize(
    ("row", "stale"),
    [
        ("| diskcache 5.6.3, by DVC | CVE-2025-69872: text | text |", []),
        ("| diskcache 5.6.2 | CVE-2025-69872: text | text |", ["but locked is 5.6.3"]),
        ("| gone 1.0 | GHSA-rhjm-6347-5x33: text | text |", ["but locked is none"]),
        ("no table", ["no table of advisories"]),
    ],
)
def test_an_advisory_about_another_version_is_named(row: str, stale: list[str]) -> None:
    found = audit.stale_advisories(row, LOCK)
    assert len(found) == len(stale)
    assert all(words in line for words, line in zip(stale, found, strict=True))


def test_the_recorded_advisories_are_about_what_is_locked() -> None:
    security, lock = (audit.ROOT / name for name in ("SECURITY.md", "requirements.lock"))
    assert audit.stale_advisories(security.read_text(), lock.read_text()) == []


@pytest.mark.parametrize(
    ("line", "explained"),
    [
        ("urlopen(x)  # noqa: S310 - http(s) only", True),
        ("urlopen(x)  # noqa: E501, S310", True),
        ("urlopen(x)  # noqa: S311", False),
        ("urlopen(x)", False),
    ],
)
def test_a_dangerous_call_needs_a_reason(line: str, explained: bool, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"first\n{line}\n")
    finding = {
        "filename": "a.py",
        "test_id": "B310",
        "line_number": 2,
        "line_range": [2],
        "issue_text": "Audit url open",
    }
    found = audit.unexplained([finding], tmp_path)
    assert found == ([] if explained else ["a.py:2: B310 Audit url open"])
