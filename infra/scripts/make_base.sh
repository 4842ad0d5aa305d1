#!/bin/sh
# Stands in for the image python:3.11-slim where no registry can be reached: Debian with Python,
# from Debian's mirror. It carries this machine's certificates and settings of pip, so that the
# Dockerfile need not know how this machine reaches its packages. Run as root, on Debian 12.
#
#   make_base.sh NAME      on the engine of DOCKER_HOST; see engine.sh
set -eu

name=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# pip's settings may also come from variables, which the image would not see. Folders of this machine
# mean nothing in there.
python3 -m pip config list | sed -n "s/^.*\.\([a-z-]*\)='\(.*\)'$/\1 = \2/p" |
  awk -F ' = ' '$1 != "find-links" && !/file:/ && !seen[$1]++' >"$work/settings"
{ echo '[global]'; cat "$work/settings"; } >"$work/pip.conf"

# What python:3.11-slim has and Debian lacks: `python`, and a pip that installs.
mmdebstrap --quiet --mode=root --variant=apt \
  --include=python3,python3-venv,python3-pip,ca-certificates \
  --aptopt='Apt::Install-Recommends "false"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook='ln -s ../../bin/python3 "$1/usr/local/bin/python"' \
  --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
  --customize-hook="copy-in $work/pip.conf /etc" \
  --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
  bookworm "$work/root.tar" /etc/apt/sources.list.d/debian.sources

/usr/bin/docker import --change 'CMD ["python3"]' \
  --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin' \
  "$work/root.tar" "$name"
