"""`make audit`: licenses, advisories, dangerous calls, the Dockerfile, and what it all consists of.

Needs .venv and .tools; asks no network. Prints a line for each check and writes dist/sbom.cdx.json.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools/bin"
SBOM = ROOT / "dist/sbom.cdx.json"
CODE = ("components", "pipeline", "infra", "docs")

# Whoever offers the program over a network would owe its source, or may not offer it at all.
_FORBIDDEN = re.compile(
    r"AGPL|Affero|SSPL|Server Side Public|BUSL|\bBSL-1\.1|Business Source", re.IGNORECASE
)
# A row of SECURITY.md's table: package and version, then what they are about.
_ADVISORY = re.compile(r"^\| (?P<name>[\w.-]+) (?P<version>[\w.]+)[^|]*\| .*(CVE|GHSA)-")


def licenses(distributions: Iterable[metadata.Distribution]) -> Iterator[tuple[str, str]]:
    """Name and license of each package, as it states them; empty where it does not."""
    for distribution in distributions:
        stated = distribution.metadata
        expression, text = (
            (stated.get_all(name) or [""])[0] for name in ("License-Expression", "License")
        )
        classifiers = [
            text.rpartition("::")[2].strip()
            for text in stated.get_all("Classifier") or []
            if text.startswith("License")
        ]
        first_line = text.strip().partition("\n")[0][:100]
        yield stated["Name"], expression or " / ".join(filter(None, [*classifiers, first_line]))


def forbidden(stated: Iterable[tuple[str, str]]) -> list[str]:
    """Packages whose license this project may not depend on."""
    return [f"{name}: {text}" for name, text in stated if _FORBIDDEN.search(text)]


def stale_advisories(security: str, lock: str) -> list[str]:
    """Rows of SECURITY.md about versions that are not locked: somebody must look again."""
    rows = [match for line in security.splitlines() if (match := _ADVISORY.match(line))]
    if not rows:
        return ["SECURITY.md has no table of advisories"]
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE))
    return [
        f"SECURITY.md is about {row['name']} {row['version']}, but locked is "
        f"{locked.get(row['name'], 'none')}"
        for row in rows
        if locked.get(row["name"]) != row["version"]
    ]


def unexplained(findings: Iterable[Mapping[str, Any]], root: Path = ROOT) -> list[str]:
    """What bandit found where no line says why it is right, as it must for ruff: `noqa: S310`."""
    found = []
    for finding in findings:
        lines = (root / finding["filename"]).read_text().splitlines()
        code = f"S{finding['test_id'].removeprefix('B')}"
        place = [lines[number - 1] for number in finding["line_range"]]
        if not any(re.search(rf"noqa: .*\b{code}\b", line) for line in place):
            where = f"{finding['filename']}:{finding['line_number']}"
            found.append(f"{where}: {finding['test_id']} {finding['issue_text']}")
    return found


def _bandit() -> list[str]:
    command = [TOOLS / "bandit", "-q", "-ll", "-f", "json", "-r", *CODE]
    done = _run(command)
    results = json.loads(done.stdout)
    return [*unexplained(results["results"]), *(str(error) for error in results["errors"])]


def _hadolint() -> list[str]:
    done = _run([TOOLS / "hadolint", "infra/Dockerfile"])
    return done.stdout.splitlines() if done.returncode else []


def _sbom() -> list[str]:
    SBOM.parent.mkdir(exist_ok=True)
    done = _run(
        [TOOLS / "syft", "scan", f"dir:{sys.prefix}/lib", "-q", "-o", f"cyclonedx-json={SBOM}"]
    )
    if done.returncode:
        return [done.stderr]
    listed = {entry["name"].lower() for entry in json.loads(SBOM.read_text())["components"]}
    missing = [d.metadata["Name"] for d in _installed() if d.metadata["Name"].lower() not in listed]
    return [f"the SBOM lacks {', '.join(missing)}"] if missing else []


def _run(command: list[Any]) -> subprocess.CompletedProcess[str]:
    quiet = {"SYFT_CHECK_FOR_APP_UPDATE": "false"}
    return subprocess.run(  # noqa: S603 - our own tools
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | quiet,
        capture_output=True,
        text=True,
        check=False,
    )


def _installed() -> list[metadata.Distribution]:
    """All but this project itself, which is there by a link."""
    names = (ROOT / "requirements.lock").read_text()
    found = metadata.distributions(path=[path for path in sys.path if "site-packages" in path])
    return [d for d in found if f"\n{d.metadata['Name'].lower()}==" in names.lower()]


def main() -> int:
    """Do all checks; the number of those that found something."""
    stated = [*licenses(_installed())]
    lock, security = (ROOT / name for name in ("requirements.lock", "SECURITY.md"))
    checks = {
        f"licenses of {len(stated)} packages": forbidden(stated),
        "advisories in SECURITY.md": stale_advisories(security.read_text(), lock.read_text()),
        "bandit": _bandit(),
        "hadolint": _hadolint(),
        f"SBOM, {SBOM.relative_to(ROOT)}": _sbom(),
    }
    for name, findings in checks.items():
        print(f"audit     {name}: {'; '.join(findings) or 'nothing to fix'}", flush=True)
    return sum(map(bool, checks.values()))


if __name__ == "__main__":
    sys.exit(main())
