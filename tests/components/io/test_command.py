"""The shell around a step, seen from outside: exit codes, streams, options."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOY = '''
"""A toy step."""

import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from components.core import errors
from components.io import command


class Toy(BaseModel):
    model_config = ConfigDict(extra="forbid")
    way: str
    times: int


@dataclass(frozen=True, kw_only=True)
class Params:
    toy: Toy


def run(*, images: Path, plot_table: Path, params: Params) -> None:
    """Do what params say.

    More text.
    """
    print(f"{images} {plot_table}\\n" * params.toy.times, end="")
    match params.toy.way:
        case "data":
            raise errors.InvalidData("data/images: one class; two are needed.")
        case "service":
            raise errors.ServiceUnavailable("MLflow: no answer; run again.")
        case "stopped":
            raise errors.Interrupted("train: stopped; run again.", signal.SIGTERM)
        case "unreadable":
            open("/dev/null/x")
        case "unnamed":
            raise OSError(5, "no file at all")
        case "bug":
            {}["no such key"]
        case "wait":
            sys.stdout.flush()
            while True:
                time.sleep(0.05)
        case "telemetry":
            print(os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["DO_NOT_TRACK"])


if __name__ == "__main__":
    raise SystemExit(command.run_step(run, Params))
'''
PATHS = ["--images", "a", "--plot-table", "b"]
# As people have it: output to a pipe is buffered.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {
    "PYTHONPATH": str(Path(__file__).parents[3])
}


def write(folder: Path, way: str, times: int = 1, step: str = "train") -> None:
    """The toy as `<step>.py`, and settings that tell it what to do."""
    (folder / f"{step}.py").write_text(TOY)
    (folder / "params.yaml").write_text(f"toy: {{way: {way}, times: {times}}}\n")


def toy(
    folder: Path,
    way: str,
    *arguments: str,
    step: str = "train",
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the toy as a program of its own, in `folder`."""
    write(folder, way, step=step)
    return subprocess.run(
        [sys.executable, f"{step}.py", *(arguments or PATHS)],
        cwd=folder,
        env={**ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_step_that_is_done_exits_with_0(tmp_path: Path) -> None:
    done = toy(tmp_path, "good")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a b\n", "")


@pytest.mark.parametrize(
    ("way", "code", "line"),
    [
        ("data", 1, "error: data/images: one class; two are needed.\n"),
        ("service", 5, "error: MLflow: no answer; run again.\n"),
        (
            "unreadable",
            1,
            "error: /dev/null/x: Not a directory; mend that, then run the same command again.\n",
        ),
        ("stopped", 143, "error: train: stopped; run again.\n"),
    ],
)
def test_what_is_no_bug_is_one_line_and_an_honest_exit_code(
    tmp_path: Path, way: str, code: int, line: str
) -> None:
    done = toy(tmp_path, way)
    assert (done.returncode, done.stderr) == (code, line)


def test_an_error_of_the_system_without_a_file_is_a_bug(tmp_path: Path) -> None:
    assert toy(tmp_path, "unnamed").returncode == 70


def test_a_bug_keeps_its_traceback_and_exits_with_70(tmp_path: Path) -> None:
    done = toy(tmp_path, "bug")
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback")
    assert "KeyError: 'no such key'" in done.stderr
    assert done.stderr.endswith("train: this is a bug in the pipeline; please report it.\n")


def test_wrong_settings_are_refused_before_the_step_starts(tmp_path: Path) -> None:
    done = toy(tmp_path, "good, tmies: 2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: params.yaml: toy.tmies is not a setting. Did you mean toy.times?\n"
    )


def test_the_settings_file_is_an_option(tmp_path: Path) -> None:
    done = toy(tmp_path, "good", *PATHS, "--params", "elsewhere.yaml")
    assert done.returncode == 1
    assert done.stderr.startswith("error: elsewhere.yaml: does not exist;")


@pytest.mark.parametrize("arguments", [["--images", "a"], [*PATHS, "--more", "c"], ["stray"]])
def test_wrong_usage_exits_with_2(tmp_path: Path, arguments: list[str]) -> None:
    done = toy(tmp_path, "good", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m components.train ")


def test_options_and_help_come_from_the_signature(tmp_path: Path) -> None:
    done = toy(tmp_path, "good", "--help")
    assert done.returncode == 0
    for text in ("--images", "--plot-table", "--params", "Do what params say."):
        assert text in done.stdout
    assert "More text" not in done.stdout


@pytest.mark.parametrize("times", [1, 100_000])
def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path, times: int) -> None:
    write(tmp_path, "good", times)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "train.py", *PATHS],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_output_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, "good")
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} train.py {' '.join(PATHS)} >&-"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_timings_are_appended_for_steps_that_were_done(tmp_path: Path) -> None:
    environment = {"PIPELINE_TIMINGS": str(tmp_path / "timings")}
    for way, step in (("good", "train"), ("data", "tune"), ("good", "toy"), ("good", "validate")):
        toy(tmp_path, way, step=step, environment=environment)
    lines = (tmp_path / "timings").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["train", "validate"]
    _, seconds, mebibytes = lines[0].split()
    assert 0 <= float(seconds) < 60
    assert 5 < int(mebibytes) < 300  # of the step itself, however large its parent is


def test_telemetry_is_off_before_the_step_starts(tmp_path: Path) -> None:
    assert toy(tmp_path, "telemetry").stdout == "a b\ntrue true\n"


def test_an_interrupt_from_the_terminal_exits_with_130_and_one_line(tmp_path: Path) -> None:
    write(tmp_path, "wait")
    with subprocess.Popen(
        [sys.executable, "train.py", *PATHS],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a b\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    line = "train: interrupted; run the same command again.\n"
    assert (process.returncode, errors) == (130, line)
