"""What DVC starts ends with it; what a person starts does not."""

import os
import subprocess
import sys

import pytest

from pipeline import starter
from tests.components.conftest import ROOT

CHILD = """
import sys
from pipeline.starter import end_with_starter
end_with_starter()
print("ready", flush=True)
for line in sys.stdin:
    print("alive", flush=True)
"""

# Starts what follows on its command line, and waits for it like DVC.
STARTER = "import subprocess, sys; subprocess.run(sys.argv[1:])"

WITHOUT_KERNEL = """import pipeline.starter
pipeline.starter._ask_kernel = lambda: False
end_with_starter()
"""

DIRECTLY = [sys.executable, "-c", CHILD]
THROUGH_A_SHELL = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, CHILD]


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.mark.row("P28")
@pytest.mark.parametrize("command", [DIRECTLY, THROUGH_A_SHELL])
def test_a_stage_ends_with_the_dvc_that_started_it(command: list[str]) -> None:
    with start(command, DVC_STAGE="train") as dvc:
        assert dvc.stdout
        assert dvc.stdout.readline() == "ready\n"
        dvc.kill()
        assert dvc.stdout.read() == "", "the end of the pipe: its last writer, the stage, is gone"


@pytest.mark.parametrize("command", [DIRECTLY, THROUGH_A_SHELL])
def test_without_help_of_the_kernel_the_stage_looks_itself(command: list[str]) -> None:
    blind = [word.replace("end_with_starter()\n", WITHOUT_KERNEL) for word in command]
    with start(blind, DVC_STAGE="train") as dvc:
        assert dvc.stdout
        assert dvc.stdout.readline() == "ready\n"
        dvc.kill()
        assert dvc.stdout.read() == ""


def test_what_a_person_starts_goes_on_when_the_terminal_is_gone() -> None:
    with start(DIRECTLY) as shell:
        assert shell.stdin
        assert shell.stdout
        assert shell.stdout.readline() == "ready\n"
        shell.kill()
        shell.stdin.write("are you there\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "alive\n"


def test_who_finds_its_starter_gone_at_once_ends() -> None:
    with start(DIRECTLY, **{starter.STARTED_BY: "1"}) as gone:
        assert gone.communicate()[0] == ""


STAGE = "from pipeline.starter import dvc_process; print(dvc_process())"

# Runs a stage itself, and one through a shell that waits for it.
DVC = """
import os, subprocess, sys
print(os.getpid(), flush=True)
subprocess.run([sys.executable, "-c", sys.argv[1]])
subprocess.run(["sh", "-c", '"$0" -c "$1"; true', sys.executable, sys.argv[1]])
"""


def test_stages_of_one_dvc_name_it_also_past_a_shell() -> None:
    def names(**environment: str) -> list[str]:
        command = [sys.executable, "-c", DVC, STAGE]
        variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    process, directly, past_a_shell = names(DVC_STAGE="train")
    assert directly == past_a_shell
    assert directly.split()[0] == process
    assert names()[1:] == ["", ""]  # a person is no DVC
