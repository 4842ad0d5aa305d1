"""One planted fault for each thing that a rule looks at."""

from __future__ import annotations

from dataclasses import dataclass

from tests.infra import access, defaults, rules
from tests.infra.manifests import Object, build, find
from tests.infra.rules import Rule

DROP = object()


@dataclass(frozen=True)
class Mutation:
    """Set (or drop) what lies at `path` of an object.

    An empty path drops the object, the target `+` adds one, a last step `+` appends to a list, and
    `~` stands for a slash within a key, `Kind/name@namespace` tells namesakes apart.
    """

    rule: Rule
    target: str
    path: str
    value: object = DROP
    overlay: str = "overlays/production"

    def __str__(self) -> str:
        what = "drop" if self.value is DROP else self.value
        return f"{self.rule.__name__}: {self.target} {self.path} {what}"


def mutated(mutation: Mutation) -> list[Object]:
    """The objects of the overlay with the fault in them."""
    objects = build(mutation.overlay)
    if mutation.target == "+":
        assert isinstance(mutation.value, dict)
        return [*objects, mutation.value]
    target = find(objects, *mutation.target.split("@"))
    if not mutation.path:
        return [thing for thing in objects if thing is not target]
    place: object = target
    *way, last = (step.replace("~", "/") for step in mutation.path.split("/"))
    for step in way:
        place = place[int(step)] if isinstance(place, list) else place[step]  # type: ignore[index]
    _change(place, last, mutation.value)
    return objects


def _change(place: object, last: str, value: object) -> None:
    if isinstance(place, list) and last == "+":
        place.append(value)
    elif isinstance(place, list):
        place[int(last) : int(last) + 1] = [] if value is DROP else [value]
    elif isinstance(place, dict) and value is DROP:
        del place[last]
    elif isinstance(place, dict):
        place[last] = value


def plant(rule: Rule, *faults: tuple[object, ...]) -> tuple[Mutation, ...]:
    """The faults (target, path, value, overlay) that this rule must see."""
    return tuple(Mutation(rule, *fault) for fault in faults)  # type: ignore[arg-type]


MLFLOW, POD = "Deployment/mlflow", "spec/template/spec"
MAIN, FIRST = f"{POD}/containers/0", f"{POD}/initContainers/0"
CRON = "spec/jobTemplate/spec"
CRON_MAIN = f"{CRON}/template/spec/containers/0"
GPU = "gpu-check"
PRUNE = "CronJob/mlflow-prune"
ZEROS = "0" * 64

SECURITY = (
    *plant(
        rules.containers_are_restricted,
        (MLFLOW, f"{MAIN}/securityContext"),
        (MLFLOW, f"{FIRST}/securityContext"),
        ("CronJob/postgres-backup", f"{CRON_MAIN}/securityContext"),
        (MLFLOW, f"{MAIN}/securityContext/privileged", True),
        (MLFLOW, f"{MAIN}/securityContext/capabilities/add", ["NET_RAW"]),
    ),
    *plant(
        rules.pods_are_restricted,
        (MLFLOW, f"{POD}/securityContext/runAsNonRoot"),
        (MLFLOW, f"{POD}/securityContext/runAsUser"),
        (MLFLOW, f"{POD}/securityContext/runAsUser", 0),
        (MLFLOW, f"{POD}/securityContext/seccompProfile/type", "Unconfined"),
        (MLFLOW, f"{POD}/hostNetwork", True),
        (MLFLOW, f"{POD}/hostPID", True),
        (MLFLOW, f"{POD}/hostIPC", True),
        (MLFLOW, f"{POD}/volumes/+", {"name": "x", "hostPath": {"path": "/"}}),
    ),
    *plant(
        rules.no_host_ports_or_probe_hosts,
        (MLFLOW, f"{MAIN}/ports/0/hostPort", 80),
        (MLFLOW, f"{MAIN}/livenessProbe/httpGet/host", "10.0.0.1"),
    ),
    *plant(
        rules.tokens_stay_out,
        (MLFLOW, f"{POD}/automountServiceAccountToken"),
        (MLFLOW, f"{POD}/enableServiceLinks"),
        (MLFLOW, f"{POD}/serviceAccountName"),
        ("ServiceAccount/mlflow", "automountServiceAccountToken"),
    ),
    *plant(
        rules.images_come_by_digest,
        (MLFLOW, f"{MAIN}/image", "registry.example/pipeline:latest"),
        (MLFLOW, f"{MAIN}/image", "registry.example/pipeline@sha256:00"),
        (MLFLOW, f"{MAIN}/image", f"registry.example/p:1@sha256:{ZEROS}"),
    ),
    *plant(
        rules.resources_are_bounded,
        (MLFLOW, f"{MAIN}/resources/requests/cpu"),
        (MLFLOW, f"{MAIN}/resources/requests/memory"),
        (MLFLOW, f"{MAIN}/resources/limits/cpu"),
        ("CronJob/restore-drill", f"{CRON_MAIN}/resources/limits/memory"),
    ),
    *plant(
        rules.scratch_space_is_bounded,
        ("Job/gpu-check", f"{POD}/volumes/1/emptyDir/sizeLimit", DROP, GPU),
    ),
    *plant(
        rules.servers_are_probed,
        (MLFLOW, f"{MAIN}/startupProbe"),
        (MLFLOW, f"{MAIN}/readinessProbe"),
        (MLFLOW, f"{MAIN}/readinessProbe/exec/command/2", "wait"),
        ("StatefulSet/postgres", f"{MAIN}/livenessProbe"),
    ),
    *plant(
        rules.replicas_have_a_disruption_budget,
        ("PodDisruptionBudget/mlflow", ""),
        ("PodDisruptionBudget/mlflow", "spec/minAvailable", 0),
        ("StatefulSet/postgres", "spec/replicas", 2),
    ),
    *plant(
        rules.jobs_end,
        ("Job/mlflow-migrate", "spec/backoffLimit"),
        ("Job/mlflow-migrate", "spec/activeDeadlineSeconds"),
        ("CronJob/postgres-backup", f"{CRON}/ttlSecondsAfterFinished"),
        ("CronJob/postgres-backup", "spec/concurrencyPolicy", "Allow"),
        ("CronJob/postgres-backup", "spec/timeZone"),
    ),
    *plant(
        rules.backups_run_and_are_tried,
        ("CronJob/postgres-backup", ""),
        ("CronJob/restore-drill", "spec/suspend", True),
    ),
    *plant(
        rules.namespaces_pin_pod_security,
        ("Namespace/image-classification", "metadata/labels"),
        (
            "Namespace/image-classification-runs",
            "metadata/labels/pod-security.kubernetes.io~enforce",
            "baseline",
        ),
        (
            "Namespace/image-classification-runs",
            "metadata/labels/pod-security.kubernetes.io~enforce-version",
            "latest",
        ),
    ),
    *plant(
        rules.namespaces_are_bounded,
        ("ResourceQuota/runs", ""),
        ("LimitRange/services", ""),
    ),
    *plant(
        defaults.bare_containers_get_no_gpu,
        ("LimitRange/runs", "spec/limits/0/max/nvidia.com~gpu", "1"),
        ("LimitRange/runs", "spec/limits/0/default/nvidia.com~gpu", "1"),
    ),
    *plant(
        defaults.databases_speak_utf8,
        ("StatefulSet/postgres", f"{MAIN}/env/3/value", "--auth=scram-sha-256 --locale=C"),
        ("StatefulSet/postgres", f"{MAIN}/env/3"),
    ),
    *plant(
        defaults.volumes_are_given_to_who_writes,
        ("StatefulSet/postgres", f"{POD}/securityContext/fsGroup"),
        ("Job/workspace-owner", f"{POD}/securityContext/fsGroup", DROP, "workspace"),
        ("Job/workspace-owner", f"{POD}/securityContext/fsGroup", 10002, "workspace"),
    ),
    *plant(
        rules.services_stay_inside,
        ("Service/mlflow", "spec/type", "LoadBalancer"),
    ),
    *plant(
        rules.names_and_ports_are_possible,
        ("Service/mlflow", "metadata/name", "ML_flow"),
        ("Service/mlflow", "spec/ports/0/port", 99999),
        (MLFLOW, f"{MAIN}/ports/0/containerPort", 0),
        ("NetworkPolicy/postgres", "spec/ingress/0/ports/0/port", 65536),
    ),
    *plant(
        rules.gpu_pods_are_complete,
        ("Job/gpu-check", f"{POD}/nodeSelector", DROP, GPU),
        ("Job/gpu-check", f"{POD}/tolerations", DROP, GPU),
        ("Job/gpu-check", f"{POD}/terminationGracePeriodSeconds", 30, GPU),
        ("Job/gpu-check", f"{POD}/containers/0/resources/requests/nvidia.com~gpu", DROP, GPU),
        ("Job/gpu-check", f"{POD}/containers/0/resources/limits/nvidia.com~gpu", "2", GPU),
        ("Job/gpu-check", f"{POD}/volumes/0/emptyDir/medium", DROP, GPU),
        ("Job/gpu-check", f"{POD}/containers/0/volumeMounts/0/mountPath", "/shm", GPU),
        (MLFLOW, f"{POD}/tolerations", [{"key": "nvidia.com/gpu"}]),
    ),
    *plant(
        rules.default_is_deny,
        ("NetworkPolicy/default-deny@image-classification", ""),
        ("NetworkPolicy/default-deny@image-classification", "spec/policyTypes/1"),
        ("NetworkPolicy/default-deny@image-classification-runs", "spec/ingress", [{}]),
    ),
)

HBA = "host all all 0.0.0.0/0 trust\n"
LITERAL = {"name": "DB_PASSWORD", "value": "x"}
FROM_SECRET = {
    "name": "DB",
    "valueFrom": {"secretKeyRef": {"name": "postgres-mlflow", "key": "password"}},
}
START = "data/start.py"
OPEN_START = (
    '"--app-name", "basic-auth" default_permission = NO_PERMISSIONS --disable-security-middleware'
)
SETTINGS = "ConfigMap/mlflow-settings"
CLUSTER_ROLE: Object = {"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": []}
SECRET: Object = {"kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "x"}}
PROMOTER = {"name": "p", "secret": {"secretName": "mlflow-promoter"}}

ACCESS = (
    *plant(
        access.rights_are_the_written_ones,
        ("+", "", CLUSTER_ROLE),
        ("Role/reader", "rules/0/resources/+", "secrets"),
        ("Role/reader", "rules/0/resources/+", "pods/exec"),
        ("Role/reader", "rules/0/verbs/+", "*"),
        ("Role/promoter", "rules/0/resourceNames"),
        ("Role/pipeline-run", "rules/4/resourceNames/+", "mlflow-promoter"),
        ("RoleBinding/promoter", "subjects/0/name", "system:authenticated"),
    ),
    *plant(
        access.only_the_promoter_reads_the_promoters_secret,
        (MLFLOW, f"{POD}/volumes/+", PROMOTER),
    ),
    *plant(
        access.pruning_waits_for_a_person_and_keeps_enough,
        (PRUNE, "spec/suspend"),
        (PRUNE, "spec/suspend", False),
        (PRUNE, f"{CRON_MAIN}/command/2", "--older-than=30"),
        (PRUNE, f"{CRON_MAIN}/command/2"),
        (PRUNE, f"{CRON_MAIN}/command/3", "--keep=1"),
        (PRUNE, f"{CRON_MAIN}/command/3"),
        ("CronJob/postgres-backup", f"{CRON_MAIN}/command", ["sh", "-c", "mlflow gc"]),
    ),
    *plant(
        access.secrets_are_files_by_reference,
        ("+", "", SECRET),
        (MLFLOW, f"{MAIN}/env/+", LITERAL),
        (MLFLOW, f"{MAIN}/env/+", FROM_SECRET),
        (MLFLOW, f"{MAIN}/envFrom/+", {"secretRef": {"name": "x"}}),
        (SETTINGS, "data/DB", "postgresql://mlflow:x@postgres/mlflow"),
        (SETTINGS, "data/API_TOKEN", "x"),
    ),
    *plant(
        access.secrets_are_checked_before_use,
        (MLFLOW, FIRST),
        (MLFLOW, f"{FIRST}/command", ["true", "x"]),
        (MLFLOW, f"{FIRST}/volumeMounts/1"),
    ),
    *plant(
        access.mlflow_is_closed,
        ("ConfigMap/mlflow-scripts", START, "default_permission = NO_PERMISSIONS"),
        ("ConfigMap/mlflow-scripts", START, '"--app-name", "basic-auth"'),
        (
            "ConfigMap/mlflow-scripts",
            START,
            OPEN_START,
        ),
        (SETTINGS, "data/MLFLOW_SERVER_ENABLE_JOB_EXECUTION"),
        (SETTINGS, "data/MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true"),
        (SETTINGS, "data/MLFLOW_DISABLE_TELEMETRY"),
        (SETTINGS, "data/MLFLOW_CREATE_MODEL_VERSION_SOURCE_VALIDATION_REGEX", ".*"),
        (SETTINGS, "data/MLFLOW_SERVER_ALLOWED_HOSTS", "*"),
        (SETTINGS, "data/MLFLOW_SERVER_ALLOWED_HOSTS", "mlflow.example.com"),
        (SETTINGS, "data/MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "*"),
        (SETTINGS, "data/MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE", "true"),
        (SETTINGS, "data/MLFLOW_BASIC_AUTH_FAIL_CLOSED", "false"),
    ),
    *plant(
        access.databases_speak_tls_only,
        ("ConfigMap/postgres-scripts", "data/pg_hba.conf", HBA),
        ("StatefulSet/postgres", f"{MAIN}/args/2"),
        ("ConfigMap/backup-settings", "data/PGSSLMODE", "require"),
        (SETTINGS, "data/PGSSLMODE", "disable"),
        ("ConfigMap/mlflow-scripts", START, ""),
    ),
    *plant(
        access.s3_outside_is_https,
        (SETTINGS, "data/MLFLOW_S3_ENDPOINT_URL", "http://s3.example.com"),
    ),
)
