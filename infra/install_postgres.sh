#!/bin/sh
# Installs Debian's PostgreSQL unless its programs are here already. As root, which needs no sudo.
set -eu

refuse() {
    echo "error: PostgreSQL is not installed here, and $1" >&2
    exit 1
}

if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
    exit 0
fi
command -v apt-get >/dev/null ||
    refuse "there is no apt-get: put initdb and pg_ctl into /usr/lib/postgresql/VERSION/bin."
[ "$(id -u)" = 0 ] ||
    refuse "only root may install it: run \`sudo sh infra/install_postgres.sh\`, then this again."
# The package would start a cluster of its own; the tests start theirs.
mkdir -p /etc/postgresql-common
echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# A network that swallows packets must not hold anybody up; nor must another apt-get.
apt() {
    timeout --kill-after=10 "$@" >>"$log" 2>&1
}
options="-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20
    -o DPkg::Lock::Timeout=60 -o APT::Update::Error-Mode=any"
# shellcheck disable=SC2086 - the options are words
if ! { apt 180 apt-get $options update &&
    apt 600 apt-get $options install -y --no-install-recommends postgresql; }; then
    why=$(grep -m 1 '^E: ' "$log" || echo "no answer in time")
    refuse "apt-get cannot install it ($why): see to the network or /etc/apt, then run this again."
fi
