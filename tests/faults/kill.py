"""Kill points: places in the code by name, where a test kills the process with SIGKILL.

The code says `sys.audit("pipeline", NAME)` there, which does nothing unless somebody listens, and
nobody but tests does. `python -m tests.faults.kill COUNT NAME WORDS` runs a command of the pipeline
and kills it when it comes to the place for the COUNTth time.
"""

import ast
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def names() -> list[str]:
    """All kill points, as the code names them."""
    found = set()
    for package in ("components", "pipeline"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            calls = (n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call))
            for call in calls if "sys.audit(" in text else ():
                if ast.unparse(call.func) == "sys.audit":
                    event, name = (ast.literal_eval(argument) for argument in call.args)
                    assert event == "pipeline"
                    found.add(name)
    return sorted(found)


def arm(name: str, count: int = 1) -> None:
    """Kill this process when it comes to the place for the countth time."""
    left = count

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "pipeline" and arguments == (name,):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def armed(name: str, count: int, action: Callable[..., None], *arguments: object) -> None:
    """Run the action in a process that dies at that place; for tests.processes.start."""
    arm(name, count)
    action(*arguments)


if __name__ == "__main__":
    from pipeline import cli

    arm(sys.argv[2], int(sys.argv[1]))
    sys.exit(cli.main(sys.argv[3:]))
