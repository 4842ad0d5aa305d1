"""Rules about secrets, rights and the servers' own settings."""

from __future__ import annotations

import re

from tests.infra.manifests import Object, find, name_of, of_kind, pods
from tests.infra.rules import Rule, find_setting

TELLING = re.compile(r"(PASSWORD|SECRET_|TOKEN|CREDENTIAL|_KEY)(?!.*_FILE$)")

# Every right that anybody has. A right that is not here is a fault, and so is a missing one.
RIGHTS = {
    "reader": {
        "pods pods/log services events persistentvolumeclaims: get list watch",
        "deployments statefulsets: get list watch",
        "jobs cronjobs: get list watch",
    },
    "promoter": {"secrets mlflow-promoter: get"},
    "pipeline-run": {
        "workflowtaskresults: create patch",
        "pods: get list watch",
        "persistentvolumeclaims: get list create delete",
        "configmaps kfp-launcher: get",
        "secrets mlpipeline-minio-artifact: get",
    },
}
HOLDERS = {
    "reader": ["Group image-classification-readers"],
    "promoter": ["Group image-classification-promoters"],
    "pipeline-run": ["ServiceAccount pipeline-run"],
}


def _stated(rule: Object) -> str:
    what = [*rule.get("resources", []), *rule.get("resourceNames", [])]
    return f"{' '.join(what)}: {' '.join(rule['verbs'])}"


def rights_are_the_written_ones(objects: list[Object]) -> list[str]:
    wide = of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    faults = [f"{name_of(thing)}: rights over the whole cluster" for thing in wide]
    if not of_kind(objects, "Namespace"):
        return faults
    found = {
        role["metadata"]["name"]: {_stated(rule) for rule in role["rules"]}
        for role in of_kind(objects, "Role")
    }
    holders = {
        binding["roleRef"]["name"]: [f"{s['kind']} {s['name']}" for s in binding["subjects"]]
        for binding in of_kind(objects, "RoleBinding")
    }
    faults += [] if found == RIGHTS else [f"rights are {found}"]
    return faults + ([] if holders == HOLDERS else [f"holders are {holders}"])


def only_the_promoter_reads_the_promoters_secret(objects: list[Object]) -> list[str]:
    """MLflow's bootstrap mounts it to set the password, the pruning to act as the promoter."""
    allowed = {"mlflow-bootstrap", "mlflow-prune"}
    return [
        f"{name_of(pod.owner)} mounts mlflow-promoter"
        for pod in pods(objects)
        for volume in pod.volumes
        if volume.get("secret", {}).get("secretName") == "mlflow-promoter"
        and pod.name not in allowed
    ]


def secrets_are_files_by_reference(objects: list[Object]) -> list[str]:
    faults = [f"{name_of(secret)} is part of the overlay" for secret in of_kind(objects, "Secret")]
    for pod in pods(objects):
        for container in pod.containers:
            faults += [
                f"{name_of(pod.owner)}: {variable['name']} in the environment"
                for variable in container.get("env", [])
                if "valueFrom" in variable or TELLING.search(variable["name"])
            ]
            if any("secretRef" in source for source in container.get("envFrom", [])):
                faults.append(f"{name_of(pod.owner)}: a secret in the environment")
    return faults + [
        f"{name_of(config)}: {key} looks like a secret"
        for config in of_kind(objects, "ConfigMap")
        for key, value in config["data"].items()
        if TELLING.search(key) or re.search(r"://[^\s/{}]+:[^\s/{}]+@", value)
    ]


def secrets_are_checked_before_use(objects: list[Object]) -> list[str]:
    """The first container of a pod refuses placeholders in all that the others mount."""
    faults = []
    for pod in pods(objects):
        mounted = [_secrets(container) for container in pod.containers]
        used = set().union(*mounted)
        first = pod.containers[0]
        checks = first["command"][1:] == ["/checks/check_secrets.py", "/secrets"]
        if used and not (checks and first in pod.spec["initContainers"] and mounted[0] == used):
            faults.append(f"{name_of(pod.owner)}: {sorted(used - mounted[0])} not checked")
    return faults


def _secrets(container: Object) -> set[str]:
    places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
    return {place for place in places if place.startswith("/secrets/")}


def mlflow_is_closed(objects: list[Object]) -> list[str]:
    if not of_kind(objects, "Deployment"):
        return []
    start = find_setting(objects, "mlflow-scripts", "start.py")
    faults = [
        f"start.py lacks {words}"
        for words in ('"--app-name", "basic-auth"', "default_permission = NO_PERMISSIONS")
        if words not in start
    ]
    if "disable-security-middleware" in start:
        faults.append("the security middleware is off")
    settings = find(objects, "ConfigMap/mlflow-settings")["data"]
    expected = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX": "^models:/m-[0-9a-f]+$",
    }
    faults += [
        f"{key} is not {value}" for key, value in expected.items() if settings.get(key) != value
    ]
    for key in ("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"):
        faults += [f"{key} has a wildcard"] if "*" in settings.get(key, "") else []
    if "mlflow.image-classification.svc:5000" not in settings["MLFLOW_SERVER_ALLOWED_HOSTS"]:
        faults.append("the service's name is not allowed")
    off = {"MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "MLFLOW_BASIC_AUTH_FAIL_CLOSED",
           "MLFLOW_ALLOW_FILE_STORE"}  # fmt: skip
    return faults + [f"{key} is set" for key in sorted(off & set(settings))]


def databases_speak_tls_only(objects: list[Object]) -> list[str]:
    if not of_kind(objects, "StatefulSet"):
        return []
    rows = find_setting(objects, "postgres-scripts", "pg_hba.conf").splitlines()
    lines = [row.split() for row in rows if row and not row.startswith("#")]
    faults = [
        f"pg_hba.conf: {' '.join(line)}"
        for line in lines
        if line[0] not in ("local", "hostssl") or line[-1] != "scram-sha-256"
    ]
    server = find(objects, "StatefulSet/postgres")["spec"]["template"]["spec"]["containers"][0]
    faults += [] if "-cssl=on" in server["args"] else ["PostgreSQL: TLS is off"]
    if find_setting(objects, "backup-settings", "PGSSLMODE") != "verify-full":
        faults.append("the backup does not verify PostgreSQL")
    if '"PGSSLMODE", "verify-full"' not in find_setting(objects, "mlflow-scripts", "start.py"):
        faults.append("MLflow does not verify PostgreSQL")
    if "PGSSLMODE" in find(objects, "ConfigMap/mlflow-settings")["data"]:
        faults.append("MLflow's settings weaken the verification")
    return faults


def s3_outside_is_https(objects: list[Object]) -> list[str]:
    """Plain HTTP only to the SeaweedFS in the same namespace."""
    inside = "http://seaweedfs.image-classification.svc:"
    return [
        f"{name_of(config)}: {key} is {value}"
        for config in of_kind(objects, "ConfigMap")
        for key, value in config["data"].items()
        if key.endswith("ENDPOINT_URL") and not value.startswith(("https://", inside))
    ]


def pruning_waits_for_a_person_and_keeps_enough(objects: list[Object]) -> list[str]:
    """Deleting cannot be undone: suspended as it comes, and never below half a year and ten."""
    if not of_kind(objects, "Deployment"):
        return []
    cron = find(objects, "CronJob/mlflow-prune")["spec"]
    faults = [] if cron.get("suspend") is True else ["nobody has read the list before it deletes"]
    pod = cron["jobTemplate"]["spec"]["template"]["spec"]
    words = dict(word.partition("=")[::2] for word in pod["containers"][0]["command"])
    for option, least in (("--older-than", 180), ("--keep", 10)):
        found = words.get(option, "")
        if not found.isdecimal() or int(found) < least:
            faults.append(f"{option} is {found or 'not set'}, below {least}")
    gc = [pod for pod in pods(objects) for each in pod.containers if "gc" in _words(each)]
    return faults + [f"{name_of(each.owner)}: `mlflow gc` knows no champion" for each in gc]


def _words(container: Object) -> list[str]:
    return " ".join([*container.get("command", []), *container.get("args", [])]).split()


RULES: tuple[Rule, ...] = (
    rights_are_the_written_ones,
    only_the_promoter_reads_the_promoters_secret,
    pruning_waits_for_a_person_and_keeps_enough,
    secrets_are_files_by_reference,
    secrets_are_checked_before_use,
    mlflow_is_closed,
    databases_speak_tls_only,
    s3_outside_is_https,
)
