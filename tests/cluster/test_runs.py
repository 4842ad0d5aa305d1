"""From nothing to a champion, as infra/README.md says."""

import json
import os
import re

import pytest

from tests.cluster.installation import Installation
from tests.cluster.kubernetes import RUNS, get, kubectl, until
from tests.cluster.newcomer import Newcomer, run_of

# What Pod Security demands of a container.
RESTRICTED = {
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
}

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def test_a_container_that_says_nothing_gets_no_gpu(installation: Installation) -> None:
    image = os.environ["CLUSTER_IMAGE"]
    words = ("run", "bare", f"--image={image}", "--dry-run=server", "--output=json")
    overrides = json.dumps(
        {"spec": {"containers": [{"name": "bare", "image": image, **RESTRICTED}]}}
    )
    made = json.loads(kubectl("-n", RUNS, *words, f"--overrides={overrides}"))
    (container,) = made["spec"]["containers"]
    assert set(container["resources"]["limits"]) <= {"cpu", "memory"}


def test_before_a_run_doctor_and_its_probe_find_nothing_to_fix(project: Newcomer) -> None:
    output = project.with_images(
        "doctor", "--cluster", "--probe", "--repository", project.repository, "--json"
    )
    found, _ = json.JSONDecoder().raw_decode(output)  # behind it: why pods waited
    rows = {row["check"]: row for row in found}
    assert {name: row for name, row in rows.items() if row["status"] == "fail"} == {}
    passed = {name for name, row in rows.items() if row["status"] == "pass"}
    assert {"data pushed", "secrets", "volume", "retries", "fetch volume", "gone"} <= passed
    assert get("pods,pvc", "-n", RUNS, "-l", "pipeline-probe") == []


def test_from_a_commit_to_a_champion(project: Newcomer) -> None:
    output = project.submit("--wait")
    assert re.search(r"succeeded; passed 0\.\d+ accuracy on 44 test images", output), output
    assert "/#/models/solar-cells/versions/1" in output
    run = run_of(output)
    until(60, "the volume of the run is gone", lambda: not claims_of(run))


def claims_of(run: str) -> list[str]:
    """Volumes that pods of the run mount."""
    workflows = get("workflows.argoproj.io", "-n", RUNS, "-l", f"pipeline/runid={run}")
    owners = {each["metadata"]["name"] for each in workflows}
    claims = get("pvc", "-n", RUNS)
    return [
        each["metadata"]["name"]
        for each in claims
        if any(each["metadata"]["name"].startswith(owner) for owner in owners)
    ]
