#!/usr/bin/env bash
# Runs a command with the services its tests need, and stops them afterwards, however the command ends.
#
#   with-services.sh [--rabbitmq] [--postgres] -- COMMAND ARGS…
#
# A service that the environment names (WAYBILL_TEST_AMQP_URL, WAYBILL_TEST_POSTGRES_URL) is used as it is. Else a
# private one is started and its URL exported under that name, together with WAYBILL_TEST_RABBITMQ_DIR or
# WAYBILL_TEST_POSTGRES_DIR, for tests that kill and restart it through rabbitmq.sh and postgres.sh. The exit code
# is the command's. The logs of a failed run are kept below .local, everything else is removed.
# shellcheck disable=SC2317 # traps call the functions below
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  sed -n '4s/^#  *//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

WANT_RABBITMQ='' WANT_POSTGRES=''
while (($# > 0)); do
  case $1 in
    --rabbitmq) WANT_RABBITMQ=1 ;;
    --postgres) WANT_POSTGRES=1 ;;
    --) shift && break ;;
    *) usage ;;
  esac
  shift
done
(($# > 0)) || usage
if [[ $1 == cargo ]]; then need_build_tools; fi

RUN_DIR='' CHILD=''

# The command leads a process group of its own: the signal goes to all of it, and what then lingers is killed.
# shellcheck disable=SC2329 # by a trap
stop_command() {
  [[ -n $CHILD ]] || return 0
  local tries=300
  kill -s "$1" -- "-$CHILD" 2>/dev/null || return 0
  while ((tries-- > 0)) && started_at "$CHILD" >/dev/null; do sleep 0.05; done
  kill -s KILL -- "-$CHILD" 2>/dev/null || true
}

# shellcheck disable=SC2329 # by a trap
finish() {
  local result=$?
  trap '' INT TERM HUP # a second Ctrl-C must not leave a server behind
  if [[ -n $RUN_DIR ]]; then
    if [[ -f $RUN_DIR/rabbitmq/settings ]]; then "$RABBITMQ" stop "$RUN_DIR/rabbitmq" || true; fi
    if [[ -f $RUN_DIR/postgres/settings ]]; then "$POSTGRES" stop "$RUN_DIR/postgres" || true; fi
    keep_logs "$RUN_DIR" "$result"
    remove_run_dir "$RUN_DIR"
  fi
  exit "$result"
}

trap finish EXIT
trap 'stop_command INT; exit 130' INT
trap 'stop_command TERM; exit 143' TERM
trap 'stop_command HUP; exit 129' HUP

RUN_DIR=$(create_run_dir)
if [[ -n $WANT_RABBITMQ && -z ${WAYBILL_TEST_AMQP_URL:-} ]]; then
  log "starting a private RabbitMQ"
  WAYBILL_TEST_AMQP_URL=$("$RABBITMQ" start "$RUN_DIR/rabbitmq")
  export WAYBILL_TEST_AMQP_URL WAYBILL_TEST_RABBITMQ_DIR=$RUN_DIR/rabbitmq
fi
if [[ -n $WANT_POSTGRES && -z ${WAYBILL_TEST_POSTGRES_URL:-} ]]; then
  log "starting a private PostgreSQL"
  WAYBILL_TEST_POSTGRES_URL=$("$POSTGRES" start "$RUN_DIR/postgres")
  export WAYBILL_TEST_POSTGRES_URL WAYBILL_TEST_POSTGRES_DIR=$RUN_DIR/postgres
fi

# In the background, since a shell handles signals while it waits but not while a command is in the foreground; with
# job control, which gives the command its own process group and leaves its handling of SIGINT alone.
set -m
"$@" </dev/null &
CHILD=$!
set +m
RESULT=0
wait "$CHILD" || RESULT=$?
kill -s KILL -- "-$CHILD" 2>/dev/null || true # what the command may have left in the background
exit "$RESULT"
