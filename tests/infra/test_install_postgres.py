"""infra/install_postgres.sh says in one line what keeps it from installing."""

from pathlib import Path

import pytest

from tests.faults import confined

SCRIPT = Path(__file__).parents[2] / "infra/install_postgres.sh"
# Hidden, so that nothing is installed, and all that is written is gone with the child.
HIDDEN = [Path("/usr/lib/postgresql"), Path("/etc"), Path("/var/lib/apt"), Path("/var/cache/apt")]


def install(programs: Path, **stubs: str) -> tuple[int, list[str]]:
    """Run it without PostgreSQL and network; exit code and lines of stderr."""
    programs.mkdir()
    for name, script in stubs.items():
        (programs / name.replace("_", "-")).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name.replace("_", "-")).chmod(0o755)
    done = confined.run(
        ["sh", str(SCRIPT)],
        network=False,
        disks={path: "1m" for path in HIDDEN if path.is_dir()},
        environment={"PATH": f"{programs}:/usr/bin:/bin"},
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("stubs", "said"),
    [
        ({"id": "echo 1000"}, "only root may install it: run `sudo sh infra/install_postgres.sh`"),
        (
            {"apt_get": "echo 'W: some'; echo 'E: Failed to fetch x'; exit 100"},
            "apt-get cannot install it (E: Failed to fetch x)",
        ),
        ({"apt_get": "exec sleep 600", "timeout": "exit 124"}, "(no answer in time)"),
    ],
)
def test_what_keeps_it_from_installing_is_one_line(
    stubs: dict[str, str], said: str, tmp_path: Path
) -> None:
    code, lines = install(tmp_path / "programs", **stubs)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: PostgreSQL is not installed here, and ")
    assert said in lines[0]
