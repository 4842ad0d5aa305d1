# Read by the image's entry point when the data folder is empty: two databases, two roles that see
# nothing of one another, and one that only reads, for the backup.
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --dbname postgres <<'SQL'
\set mlflow `cat "$SECRETS/postgres-mlflow/password"`
\set optuna `cat "$SECRETS/postgres-optuna/password"`
\set backup `cat "$SECRETS/postgres-backup/password"`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow' CONNECTION LIMIT 60;
CREATE ROLE optuna LOGIN PASSWORD :'optuna' CONNECTION LIMIT 60;
CREATE ROLE backup LOGIN PASSWORD :'backup' CONNECTION LIMIT 4;
GRANT pg_read_all_data TO backup;
ALTER ROLE mlflow SET statement_timeout = '60s';
ALTER ROLE optuna SET statement_timeout = '60s';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE optuna OWNER optuna;
REVOKE CONNECT ON DATABASE mlflow, optuna, postgres FROM PUBLIC;
GRANT CONNECT ON DATABASE mlflow, optuna TO backup;
SQL
