#!/usr/bin/env bash
# Prints the path of promtool, which checks what Prometheus is given, and fetches it first where it is missing: out of
# Debian's package of Prometheus, unpacked below .local. Nothing is installed, and nothing of that server starts.
#
# Where it cannot be had, it says SKIPPED with the reason and ends with 3.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

HOME_OF_IT=$ROOT/.local/prometheus
PROGRAM=$HOME_OF_IT/usr/bin/promtool

skip() {
  log "SKIPPED: the configurations of Prometheus are not checked: $*"
  exit 3
}

command -v promtool && exit
mkdir -p "$ROOT/.local"
exec 8>>"$ROOT/.local/prometheus.lock"
flock 8
if [[ ! -x $PROGRAM ]]; then
  command -v apt-get >/dev/null || skip "there is neither promtool nor apt-get to fetch it"
  log "fetching promtool below .local"
  rm -rf "$HOME_OF_IT"
  mkdir "$HOME_OF_IT"
  cd "$HOME_OF_IT"
  download() { apt-get -qq -o APT::Sandbox::User="$(id -un)" download prometheus >&2; }
  # The lists of packages may be missing or old; only root can have new ones.
  download || { ((EUID == 0)) && apt-get -qq update >&2 && download; } || skip "the Debian package prometheus cannot be fetched"
  dpkg-deb --extract prometheus_*.deb .
  rm prometheus_*.deb
fi
printf '%s\n' "$PROGRAM"
