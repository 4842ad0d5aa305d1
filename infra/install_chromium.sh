#!/bin/sh
# Installs Debian's Chromium unless it is here already. Run as root.
set -eu

if [ -x /usr/bin/chromium ]; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends chromium
