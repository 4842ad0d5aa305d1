#!/bin/sh
# Writes both databases into the folder $1. The password comes from $SECRETS.
set -eu
PGPASSWORD=$(cat "$SECRETS/postgres-backup/password")
export PGPASSWORD
for database in mlflow optuna; do
    pg_dump --format=custom --no-owner --no-privileges --file="$1/$database.dump" "$database"
done
