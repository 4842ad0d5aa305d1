"""The shell around a command, seen from outside: exit codes, streams, timings."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOY = """
import os, signal, sys, time

from components.core import errors
from dataclasses import dataclass
from pathlib import Path

from pipeline import costs, exit_codes


@dataclass
class Paths:
    result: Path = Path("artifacts/toy/result.json")


WAY, TIMES = sys.argv[1], int(sys.argv[2])


def act():
    with costs.measured("toy", Paths()):
        print("working\\n" * TIMES, end="")
        match WAY:
            case "kanji":
                print("\u732b", file=sys.stderr)
                print("\u732b")
            case "table":
                return 3 + sys.stdout.isatty() + sys.stderr.isatty()
            case "code":
                return 3
            case "data":
                raise errors.InvalidData("data/images: one class; two are needed.")
            case "service":
                raise errors.ServiceUnavailable("MLflow: no answer; run again.")
            case "stopped":
                raise errors.Interrupted("train: stopped; run again.", signal.SIGTERM)
            case "unreadable":
                open("/dev/null/x")
            case "full":
                raise OSError(28, "No space left on device")
            case "memory":
                bytearray(1 << 62)
            case "tensor":
                import torch
                try:
                    torch.empty(1 << 50)
                except RuntimeError as error:
                    raise ValueError("no prediction") from error
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


sys.exit(exit_codes.exit_code_of(act, "toy"))
"""
# As people have it: output to a pipe is buffered.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {
    "PYTHONPATH": str(Path(__file__).parents[2])
}


def command(way: str, times: int = 1) -> list[str]:
    return [sys.executable, "-c", TOY, way, str(times)]


def toy(way: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the toy as a program of its own."""
    return subprocess.run(
        command(way),
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_command_that_is_done_exits_with_0() -> None:
    done = toy("good")
    assert (done.returncode, done.stdout, done.stderr) == (0, "working\n", "")


def test_a_command_may_return_an_exit_code_of_its_own() -> None:
    assert toy("code").returncode == 3


@pytest.mark.parametrize(
    ("way", "code", "line"),
    [
        ("data", 1, "error: data/images: one class; two are needed.\n"),
        ("service", 5, "error: MLflow: no answer; run again.\n"),
        (
            "unreadable",
            1,
            "error: /dev/null/x: Not a directory; fix that, then run the same command again.\n",
        ),
        ("stopped", 143, "error: train: stopped; run again.\n"),
    ],
)
def test_what_a_person_can_fix_is_one_line_and_an_honest_exit_code(
    way: str, code: int, line: str
) -> None:
    done = toy(way)
    assert (done.returncode, done.stderr) == (code, line)


def test_a_full_disk_is_one_line_and_fixable() -> None:
    done = toy("full")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: toy: No space left on the file system \S+ \([\d,.]+ MiB, .+\); free some, then "
        r"run the same command again\.\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    ("way", "said"),
    [("memory", "MemoryError"), ("tensor", "DefaultCPUAllocator: can't allocate memory: .*")],
)
def test_memory_that_runs_out_in_any_command_is_one_line_and_fixable(way: str, said: str) -> None:
    done = toy(way)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"error: toy: out of memory \({said}\); give the process more, or use a smaller "
        r"training\.batch_size or model\.image_size, then run the same command again\.\n",
        done.stderr,
    )


def test_an_error_of_the_system_without_a_file_is_an_internal_error() -> None:
    assert toy("unnamed").returncode == 70


def test_an_internal_error_keeps_its_traceback_and_exits_with_70() -> None:
    done = toy("bug")
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback")
    assert "KeyError: 'no such key'" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("toy: internal error;")


@pytest.mark.parametrize("times", [1, 100_000])
def test_a_reader_that_leaves_early_gets_no_traceback(times: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            command("good", times),
            env=ENVIRONMENT,
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, "")


def test_a_closed_output_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} toy.py good 1 >&-"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_timings_are_appended_for_steps_that_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for way in ("good", "data", "good"):
        toy(way, PIPELINE_TIMINGS=str(tmp_path / "timings"))
    lines = (tmp_path / "timings").read_text().splitlines()
    assert len(lines) == 2
    name, seconds, mebibytes = lines[0].split()
    assert name == "toy"
    assert 0 <= float(seconds) < 60
    cost = json.loads((tmp_path / "artifacts/toy/cost.json").read_text())
    assert cost["seconds"] == float(lines[1].split()[1])
    assert 0 < cost["processor_seconds"] < 60
    assert 5 < int(mebibytes) < 300  # of the step itself, however large its parent is


@pytest.mark.row("N16")
def test_telemetry_is_off_before_the_command_starts() -> None:
    assert toy("telemetry").stdout == "working\ntrue true\n"


def test_an_interrupt_from_the_terminal_exits_with_130_and_one_line() -> None:
    with subprocess.Popen(
        command("wait"),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    line = "toy: interrupted; run the same command again.\n"
    assert (process.returncode, errors) == (130, line)


def test_a_terminal_that_lacks_a_character_gets_its_escape() -> None:
    done = toy("kanji", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout, done.stderr) == (
        0, "working\n\\u732b\n", "\\u732b\n",
    )  # fmt: skip


@pytest.mark.row("R20")
@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_stop_a_command(streams: str) -> None:
    words = shlex.join(command("table"))
    done = subprocess.run(["sh", "-c", f"{words} {streams}"], env=ENVIRONMENT, check=False)
    assert done.returncode == 3
