"""Of kfp's many lines, people see those of the steps; the log has all."""

import io

from pipeline.kubeflow.compiler import StepLines


def test_lines_of_the_steps_are_shown_and_all_are_kept() -> None:
    shown, log = io.StringIO(), io.StringIO()
    lines = StepLines(shown, log)
    parts = [
        "\x1b[96m12:00 - INFO - Executing task train\n", "    ", "train     epoch 1/2", "\n",
        "    trial 3   pruned\n", '    {"parameterValues": 1}\n', "    error: data: none\n",
    ]  # fmt: skip
    for part in parts:
        print(part, end="", file=lines)
    assert shown.getvalue() == "train     epoch 1/2\ntrial 3   pruned\nerror: data: none\n"
    assert log.getvalue() == "".join(parts)
