#!/usr/bin/env bash
# Prints the root folder of a Debian 13, which has RabbitMQ 4 and PostgreSQL 17, and makes it first where it is missing:
# 700 MB of packages below .local. rabbitmq.sh and postgres.sh take their programs from it where
# WAYBILL_SERVERS_ROOT names it. Nothing of this machine's own is changed by it.
#
# Where it cannot be had, without root or without the network, it says SKIPPED with the reason and ends with 3.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RELEASE=trixie
TREE=$ROOT/.local/$RELEASE

skip() {
  log "SKIPPED: nothing is tested with RabbitMQ 4 and PostgreSQL 17: $*"
  exit 3
}

((EUID == 0)) || skip "only root can make and use a Debian of its own"
unshare --mount true 2>/dev/null || skip "this machine allows no mounts"
mkdir -p "$ROOT/.local"
exec 8>>"$TREE.lock"
flock 8
if [[ ! -e $TREE/complete ]]; then
  command -v debootstrap >/dev/null || (install_package debootstrap) || skip "there is no debootstrap"
  log "installing RabbitMQ 4 and PostgreSQL 17 below .local"
  rm -rf "$TREE"
  debootstrap --variant=minbase "$RELEASE" "$TREE" >"$TREE.log" 2>&1 8>&- || skip "debootstrap failed: $(tail -n 1 "$TREE.log")"
  # No package may start its service, nor can it: what it would start it with is not there.
  printf '#!/bin/sh\nexit 101\n' >"$TREE/usr/sbin/policy-rc.d"
  chmod 755 "$TREE/usr/sbin/policy-rc.d"
  DEBIAN_FRONTEND=noninteractive chroot "$TREE" apt-get -qq -y install --no-install-recommends rabbitmq-server postgresql \
    >>"$TREE.log" 2>&1 8>&- </dev/null || skip "its packages cannot be installed: $(tail -n 1 "$TREE.log")"
  rm -rf "$TREE"/var/cache/apt/archives/*.deb "$TREE"/var/lib/apt/lists/*
  touch "$TREE/complete"
fi
printf '%s\n' "$TREE"
