#!/bin/sh
# A container engine of our own, beside any other: private socket and state, no network of its own
# and so no change to this machine's firewall. Run as root.
#
#   engine.sh start FOLDER    then: export DOCKER_HOST=unix://FOLDER/docker.sock
#   engine.sh stop FOLDER     ends it and removes FOLDER with all its images
set -eu

action=$1
state=$2
socket=$state/docker.sock

start() {
  mkdir -p "$state"
  setsid dockerd --host "unix://$socket" --data-root "$state/data" --exec-root "$state/run" \
    --pidfile "$state/docker.pid" --bridge none --iptables=false --ip6tables=false \
    --ip-forward=false >"$state/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 120); do
    DOCKER_HOST=unix://$socket /usr/bin/docker info >/dev/null 2>&1 && return
    sleep 0.5
  done
  tail -n 20 "$state/dockerd.log" >&2
  echo "error: $state: the engine does not answer after 60 s; see its log above" >&2
  exit 5
}

stop() {
  if [ -f "$state/docker.pid" ]; then
    pid=$(cat "$state/docker.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 120); do kill -0 "$pid" 2>/dev/null || break; sleep 0.5; done
  fi
  # the engine leaves the name spaces of its networks mounted
  awk -v top="$state/" 'index($2, top) == 1 {print $2}' /proc/mounts | sort -r |
    while read -r mount; do umount "$mount"; done
  rm -rf "$state"
}

case $action in
  start) start ;;
  stop) stop ;;
  *)
    echo "error: $action: is not an action; use start or stop" >&2
    exit 2
    ;;
esac
