#!/usr/bin/env bash
# Prints the path of the program of the release before this one (the commit in deploy/previous-release), and builds it
# first where it is missing: from git's history, below target/previous. Dependencies that both releases have in the
# same version are compiled once, into the same target folder.
#
# Where it cannot be had, because the history is not there (an archive, a shallow clone) or neither are its dependencies
# nor the network, it says SKIPPED with the reason and ends with 3.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

TARGET=$(absolute "${CARGO_TARGET_DIR:-$ROOT/target}")
COMMIT=$(grep -v '^#' "$ROOT/deploy/previous-release")
HOME_OF_IT=$TARGET/previous/$COMMIT
PROGRAM=$HOME_OF_IT/waybill SOURCE=$HOME_OF_IT/source

skip() {
  log "SKIPPED: an upgrade from the previous release, $COMMIT, is not tested: $*"
  exit 3
}

mkdir -p "$HOME_OF_IT"
exec 8>>"$HOME_OF_IT/lock"
flock 8
if [[ ! -x $PROGRAM ]]; then
  command -v git >/dev/null || skip "there is no git"
  git -C "$ROOT" cat-file -e "$COMMIT^{commit}" 2>/dev/null || skip "this is no git repository with that commit"
  log "building the previous release, $COMMIT, below ${HOME_OF_IT#"$ROOT/"}"
  rm -rf "$SOURCE"
  mkdir "$SOURCE"
  git -C "$ROOT" archive "$COMMIT" | tar --extract --directory "$SOURCE"
  OUTPUT=$(cargo fetch --quiet --locked --manifest-path "$SOURCE/Cargo.toml" 2>&1) ||
    skip "its dependencies cannot be fetched: ${OUTPUT##*$'\n'}"
  # Objects go where this release's are, the program does not: that place is this release's own.
  CARGO_BUILD_BUILD_DIR=$TARGET CARGO_TARGET_DIR=$HOME_OF_IT \
    cargo build --quiet --locked --workspace --bin waybill --manifest-path "$SOURCE/Cargo.toml" >&2
  mv "$HOME_OF_IT/debug/waybill" "$PROGRAM"
  rm -rf "$SOURCE" "$HOME_OF_IT/debug"
fi
printf '%s\n' "$PROGRAM"
