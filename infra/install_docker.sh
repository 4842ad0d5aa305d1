#!/bin/sh
# Installs Debian's container engine, and what makes a base image of Debian's packages, unless they
# are here already. Run as root. Tests start an engine of their own.
set -eu

command -v dockerd >/dev/null && command -v mmdebstrap >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker.io mmdebstrap
