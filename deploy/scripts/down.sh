#!/usr/bin/env bash
# Stops what up.sh started, by the process ids it noted, and removes its state. Does nothing if nothing is up.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DIR=$ROOT/.local/up
[[ -d $DIR ]] || exit 0
log "stopping waybill and its broker"
RESULT=0
stop_stack "$DIR" || RESULT=$?
remove_run_dir "$DIR"
exit "$RESULT"
