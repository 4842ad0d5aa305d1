#!/bin/sh
# Restores the dumps of the folder $1 into a PostgreSQL of its own, made in the empty folder $2,
# which speaks to nobody; asks MLflow's tables what came back. Ends with 1 unless all did.
set -eu
unset PGSSLMODE PGSSLROOTCERT PGPORT
data=$2/data
initdb --pgdata="$data" --username=drill --auth=trust --encoding=UTF8 --locale=C.UTF-8 >"$2/log"
options="-c listen_addresses='' -c unix_socket_directories='$2' -c fsync=off"
pg_ctl --pgdata="$data" --log="$2/log" --options="$options" --wait start >/dev/null
trap 'pg_ctl --pgdata="$data" --mode=immediate stop >/dev/null' EXIT
export PGHOST="$2" PGUSER=drill
for database in mlflow optuna; do
    createdb "$database"
    pg_restore --exit-on-error --no-owner --dbname="$database" "$1/$database.dump"
done
count() {
    psql --no-psqlrc --tuples-only --no-align --dbname mlflow --command "SELECT count(*) FROM $1"
}
experiments=$(count experiments) revisions=$(count alembic_version)
if [ "$revisions" -ne 1 ] || [ "$experiments" -eq 0 ]; then
    echo "error: $revisions schema revisions and $experiments experiments came back" >&2
    exit 1
fi
lost=$(count "registered_model_aliases a LEFT JOIN model_versions v USING (name, version) \
    WHERE v.name IS NULL")
if [ "$lost" -ne 0 ]; then
    echo "error: $lost aliases point to versions that did not come back" >&2
    exit 1
fi
echo "restored: $experiments experiments, $(count runs) runs, $(count model_versions) versions," \
    "$(count registered_model_aliases) aliases"
