"""Refuse to start on secrets that are placeholders, short, or used twice.

    python check_secrets.py FOLDER        FOLDER/<secret>/<key> as Kubernetes mounts them

Ends with 0 when every value is fit for use; else with 1 and one line for each that is not. Values
are never printed.
"""

import sys
from pathlib import Path

PLACEHOLDER = "replace-me"
CHARACTERS = 16


def read(folder: Path) -> dict[str, str]:
    """<secret>/<key> -> value. Kubernetes keeps the real files in hidden folders beside them."""
    found = sorted(path for path in folder.glob("[!.]*/[!.]*") if path.is_file())
    return {f"{path.parent.name}/{path.name}": path.read_text().strip() for path in found}


def faults(values: dict[str, str]) -> list[str]:
    """What is wrong, one line each."""
    secrets = {name: value for name, value in values.items() if not name.endswith("/username")}
    wrong = [] if secrets else ["no secret is mounted"]
    owner: dict[str, str] = {}
    for name, value in secrets.items():
        first = owner.setdefault(value, name)
        if PLACEHOLDER in value.lower():
            wrong.append(f"{name} is still the placeholder")
        elif len(value) < CHARACTERS:
            wrong.append(f"{name} has {len(value)} characters; {CHARACTERS} are the least")
        elif first != name:
            wrong.append(f"{name} is the same as {first}")
    return wrong


def main(folder: Path) -> int:
    """Print the faults; return the exit code."""
    wrong = faults(read(folder))
    for line in wrong:
        print(f"error: secret {line}; run infra/scripts/make_secrets.sh", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
