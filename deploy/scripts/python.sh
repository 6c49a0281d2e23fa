#!/usr/bin/env bash
# Prints the path of a Python that has certain packages, and makes it first where it is missing: a virtual environment
# below .local.
#
#   python.sh [REQUIREMENTS]   without: deploy/examples/python/requirements.txt
#
# Where it cannot be had, without the network for example, it says SKIPPED with the reason and ends with 3; so it does
# for five minutes more without trying again, because every test asks.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REQUIREMENTS=$(absolute "${1:-$ROOT/deploy/examples/python/requirements.txt}")
NAME=python-$(cat <(python3 --version 2>&1) "$REQUIREMENTS" | sha256sum | cut -c -12)
VENV=$ROOT/.local/$NAME SKIPPED=$ROOT/.local/$NAME.skipped

skip() {
  printf '%s\n' "$*" >"$SKIPPED"
  skipped
}

skipped() {
  log "SKIPPED: what needs the packages of ${REQUIREMENTS#"$ROOT/"} is not tested: $(<"$SKIPPED")"
  exit 3
}

has_venv() { python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

mkdir -p "$ROOT/.local"
exec 8>>"$ROOT/.local/$NAME.lock"
flock 8
# In a subshell, because it ends the shell where it fails.
if [[ -n $(find "$SKIPPED" -mmin -5 2>/dev/null) ]]; then
  skipped
fi
has_venv || (install_package python3-venv) || true
has_venv || skip "there is no Python from 3.10 on with venv (Debian package python3-venv)"

if [[ ! -e $VENV/complete ]]; then
  log "installing the packages of ${REQUIREMENTS#"$ROOT/"} below .local"
  rm -rf "$VENV"
  python3 -m venv "$VENV" >&2 || skip "python3 -m venv failed"
  OUTPUT=$("$VENV/bin/pip" install --disable-pip-version-check --quiet --retries 1 --timeout 20 \
    --requirement "$REQUIREMENTS" 2>&1) || skip "pip cannot install its packages: ${OUTPUT##*$'\n'}"
  touch "$VENV/complete"
fi
printf '%s\n' "$VENV/bin/python3"
