#!/bin/sh
# Makes every secret that infra/kustomize refers to, with random values, in the empty folder $1 as
# <namespace>/<secret>/<key>. With the word `create` as $2 it also creates them in the cluster that
# kubectl speaks to; one that is there already stays as it is. Keep the folder in a safe, or delete it.
#
#     sh infra/scripts/make_secrets.sh FOLDER [create]
#
# Keys of an S3 that you have already (overlay production) come from the environment:
# S3_MLFLOW_ACCESS_KEY and S3_MLFLOW_SECRET_KEY, and so for BACKUP and DVC.
set -eu
umask 077
folder=$1
services=$folder/image-classification
runs=$folder/image-classification-runs
mkdir -p "$folder"
[ -z "$(ls -A "$folder")" ] || { echo "error: $folder is not empty" >&2; exit 1; }

random() { openssl rand -hex 24; }
write() { # FOLDER SECRET KEY VALUE
    mkdir -p "$1/$2"
    printf %s "$4" >"$1/$2/$3"
}
for role in superuser mlflow optuna backup; do
    write "$services" "postgres-$role" password "$(random)"
done
for user in admin trainer promoter; do
    write "$services" "mlflow-$user" username "$user"
    write "$services" "mlflow-$user" password "$(random)"
done
write "$services" mlflow-session key "$(random)"
for user in trainer promoter; do
    mkdir -p "$runs/mlflow-$user"
    cp "$services/mlflow-$user/"* "$runs/mlflow-$user/"
done
optuna=$(cat "$services/postgres-optuna/password")
host=postgres.image-classification.svc
write "$runs" postgres-optuna uri \
    "postgresql://optuna:$optuna@$host:5432/optuna?sslmode=verify-full&sslrootcert=/ca/ca.crt"

# S3: an identity for each purpose, which sees only its bucket.
s3() { # FOLDER SECRET ACCESS SECRET-KEY
    write "$1" "$2" access-key "${3:-$(random)}"
    write "$1" "$2" secret-key "${4:-$(random)}"
}
s3 "$services" s3-admin "" ""
s3 "$services" s3-mlflow "${S3_MLFLOW_ACCESS_KEY:-}" "${S3_MLFLOW_SECRET_KEY:-}"
s3 "$services" s3-backup "${S3_BACKUP_ACCESS_KEY:-}" "${S3_BACKUP_SECRET_KEY:-}"
s3 "$runs" s3-dvc "${S3_DVC_ACCESS_KEY:-}" "${S3_DVC_SECRET_KEY:-}"
identity() { # NAME FOLDER-OF-KEYS ACTIONS
    printf '{"name":"%s","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":[%s]}' \
        "$1" "$(cat "$2/access-key")" "$(cat "$2/secret-key")" "$3"
}
of() { printf '"Read:%s","List:%s","Write:%s","Tagging:%s"' "$1" "$1" "$1" "$1"; }
write "$services" seaweedfs-identities s3.json "{\"identities\":[$(
    identity admin "$services/s3-admin" '"Admin","Read","List","Write"'
),$(identity mlflow "$services/s3-mlflow" "$(of mlflow)"
),$(identity backup "$services/s3-backup" "$(of backups)"
),$(identity dvc "$runs/s3-dvc" "$(of dvc)")]}"

# TLS: an authority of our own, whose key is thrown away, and PostgreSQL's certificate (five years).
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -x509 -newkey rsa:3072 -nodes -days 1826 -subj "/CN=image-classification" \
    -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
openssl req -newkey rsa:3072 -nodes -subj "/CN=$host" -keyout "$work/tls.key" -out "$work/tls.csr" \
    2>/dev/null
printf 'subjectAltName=DNS:%s,DNS:postgres,DNS:localhost\n' "$host" >"$work/names"
openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" -CAcreateserial \
    -days 1825 -extfile "$work/names" -out "$work/tls.crt" 2>/dev/null
mkdir -p "$services/postgres-tls" "$services/internal-ca" "$runs/internal-ca"
cp "$work/tls.crt" "$work/tls.key" "$services/postgres-tls/"
cp "$work/ca.crt" "$services/internal-ca/"
cp "$work/ca.crt" "$runs/internal-ca/"

[ "${2:-}" = create ] || exit 0
for path in "$folder"/*/*; do
    name=$(basename "$path") namespace=$(basename "$(dirname "$path")")
    kubectl --namespace "$namespace" get secret "$name" >/dev/null 2>&1 ||
        kubectl --namespace "$namespace" create secret generic "$name" --from-file="$path"
done
