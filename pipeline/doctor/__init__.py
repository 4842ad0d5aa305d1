"""`doctor`: one line for each thing that the pipeline needs, and what to do about it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from components.core.errors import PipelineError, ServiceUnavailable
from pipeline.doctor import cluster, local
from pipeline.doctor.finding import Check, CheckResult, line, run_check


def add_parser(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], check_params: Callable[[], None]
) -> None:
    """Add the verb.

    Args:
        verbs: of the program.
        check_params: raises what is wrong with params.yaml.
    """
    text = (diagnose.__doc__ or "").splitlines()[0]
    parser = verbs.add_parser("doctor", help=text, description=text)
    parser.add_argument("--cluster", action="store_true", help="ask the cluster, too")
    parser.add_argument("--endpoint", metavar="URL", help="default: KF_PIPELINES_ENDPOINT")

    def act(given: argparse.Namespace) -> int:
        checks = local.checks(check_params)
        if given.cluster:
            checks |= cluster.checks(given.endpoint)
        return diagnose(checks)

    parser.set_defaults(act=act)


def diagnose(checks: Mapping[str, Check]) -> int:
    """Say what the pipeline finds here: machine, packages, settings, data; --cluster asks there.

    Returns:
        0 when nothing failed, 1 when somebody here can mend something, 5 when only services were
        silent.
    """
    findings = []
    for name, check in checks.items():
        findings.append(run_check(check))
        print(line(name, findings[-1]), flush=True)
    return _exit_code(findings)


def _exit_code(findings: list[CheckResult]) -> int:
    failed = [finding for finding in findings if finding.status == "fail"]
    if not failed:
        return 0
    only_services = all(finding.service for finding in failed)
    return ServiceUnavailable.exit_code if only_services else PipelineError.exit_code
