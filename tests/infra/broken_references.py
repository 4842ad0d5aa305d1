"""One broken reference for each kind."""

from tests.infra import references
from tests.infra.mutations import MAIN, MLFLOW, POD, SETTINGS, plant

REFERENCES = (
    *plant(
        references.configs_and_secrets_are_there,
        (MLFLOW, f"{POD}/volumes/0/configMap/name", "none"),
        (MLFLOW, f"{POD}/volumes/5/secret/secretName", "none"),
        (MLFLOW, f"{MAIN}/envFrom/0/configMapRef/name", "none"),
    ),
    *plant(
        references.mounts_have_volumes_and_files,
        (MLFLOW, f"{MAIN}/volumeMounts/0/name", "none"),
        (MLFLOW, f"{POD}/volumes/+", {"name": "x", "emptyDir": {}}),
        (MLFLOW, f"{MAIN}/command/1", "/scripts/none.py"),
        ("ConfigMap/postgres-scripts", "data/databases.sh"),
    ),
    *plant(
        references.accounts_are_there,
        (MLFLOW, f"{POD}/serviceAccountName", "none"),
        ("RoleBinding/pipeline-run", "subjects/0/name", "none"),
    ),
    *plant(
        references.bindings_have_roles,
        ("RoleBinding/reader", "roleRef/name", "none"),
    ),
    *plant(
        references.selectors_find_pods,
        ("Service/mlflow", "spec/selector/app.kubernetes.io~name", "none"),
        ("PodDisruptionBudget/mlflow", "spec/selector/matchLabels/app.kubernetes.io~name", "none"),
        (MLFLOW, "spec/template/metadata/labels/app.kubernetes.io~name", "none"),
        ("NetworkPolicy/postgres", "spec/podSelector/matchLabels/app.kubernetes.io~name", "none"),
    ),
    *plant(
        references.ports_are_there,
        (MLFLOW, f"{MAIN}/startupProbe/httpGet/port", "none"),
        ("Service/mlflow", "spec/ports/0/targetPort", "none"),
        ("Ingress/mlflow", "spec/rules/0/http/paths/0/backend/service/name", "none"),
        ("Ingress/mlflow", "spec/rules/0/http/paths/0/backend/service/port/name", "none"),
        ("Ingress/mlflow", "spec/tls/0/secretName", "none"),
    ),
    *plant(
        references.addresses_are_services,
        (SETTINGS, "data/PGHOST", "pg.image-classification.svc"),
        (
            "ConfigMap/bootstrap-settings",
            "data/MLFLOW_TRACKING_URI",
            "http://mlflow.image-classification.svc:8080",
        ),
    ),
    *plant(
        references.names_in_rights_are_there,
        ("Role/promoter", "rules/0/resourceNames/0", "none"),
    ),
)
