#!/usr/bin/env bash
# The story of Waybill in six steps, from nothing: builds it, starts a broker (or uses the one WAYBILL_AMQP_URL names)
# and one Waybill process with every role on a fresh SQLite file, sends dispatches that end in every possible way,
# and stops it all. The exit code is 0 only if each step ended as announced.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

RUN_DIR='' FAILED=0

finish() {
  local result=$?
  trap '' INT TERM HUP
  if [[ -n $RUN_DIR ]]; then
    stop_stack "$RUN_DIR" || true
    keep_logs "$RUN_DIR" "$result"
    remove_run_dir "$RUN_DIR"
  fi
  exit "$result"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

heading() { printf '\n== %s\n\n' "$*"; }

failed() {
  FAILED=$((FAILED + 1))
  printf '\n   UNEXPECTED: %s\n' "$*"
}

# client EXPECTED ARGS…: runs a client command, shows it with its output, and holds its exit code against EXPECTED.
# The output is also left in $OUTPUT.
client() {
  local expected=$1 code=0
  shift
  printf '$ waybill'
  printf ' %q' "$@"
  printf '\n'
  timeout --foreground 300 "$WAYBILL" "$@" --endpoint "$ENDPOINT" 2>&1 | tee "$OUTPUT" || code=$?
  printf '(exit code %s)\n' "$code"
  [[ $code == "$expected" ]] || failed "exit code $code instead of $expected"
}

# field NAME: the value of a string field in the JSON output of the last client command.
field() { grep -o "\"$1\": *\"[^\"]*\"" "$OUTPUT" | head -n 1 | cut -d '"' -f 4 || true; }

submit() { client "$1" submit --destination NLRTM --parcels 3 --customer acme "${@:2}"; }

build_waybill
RUN_DIR=$(create_run_dir)
OUTPUT=$RUN_DIR/output
GRPC_PORT=$(free_port) HTTP_PORT=$(free_port)
ENDPOINT=http://127.0.0.1:$GRPC_PORT
start_stack "$RUN_DIR" "$GRPC_PORT" "$HTTP_PORT"
printf '\nEvery client command below also has --endpoint %s\n' "$ENDPOINT"

heading "1. A dispatch is accepted, ordered, paid and sent: COMPLETED"
submit 0 --json --order-id DEMO-1 --message-id demo-1 --wait
FIRST_ID=$(field dispatch_id)
printf '\nAnd what is known about it afterwards, step by step:\n\n'
client 0 get "$FIRST_ID"

heading "2. The destination is refused after the payment was reserved: payment and order are compensated, CANCELLED"
client 10 submit --order-id DEMO-2 --destination ZZNOW --parcels 3 --customer acme --wait

heading "3. The amount is above the customer's credit limit: payment declined, the order is compensated, CANCELLED"
submit 10 --order-id DEMO-3 --amount '5000.00 EUR' --wait

heading "4. The first message is sent once more, as by a client that missed the answer: same dispatch, marked duplicate"
submit 0 --json --order-id DEMO-1 --message-id demo-1
[[ -n $FIRST_ID && $(field dispatch_id) == "$FIRST_ID" ]] || failed "another dispatch id than in step 1"
grep -q '"duplicate": *true' "$OUTPUT" || failed "not marked as duplicate"

heading "5. An invalid request is refused at the door, with everything that is wrong with it"
client 3 submit --order-id DEMO-5 --destination '' --parcels 0
for name in destination_code parcel_count; do
  grep -q "$name" "$OUTPUT" || failed "the violation of $name is not named"
done

heading "6. A thousand dispatches at once; about one in eleven is made to be refused at one of the three steps"
printf '$ waybill submit --file deploy/examples/dispatches.jsonl --wait\n'
CODE=0 # run directly, so that the progress bar has a terminal
"$WAYBILL" submit --file "$ROOT/deploy/examples/dispatches.jsonl" --wait --endpoint "$ENDPOINT" || CODE=$?
# 0 says that each was accepted and ended, whether COMPLETED or CANCELLED.
[[ $CODE == 0 ]] || failed "exit code $CODE instead of 0"

heading "The end: Waybill is asked to stop (SIGTERM), finishes what it has begun, and leaves"
CODE=0
stop_process "$RUN_DIR/waybill.pid" TERM 60 || failed "waybill did not stop by itself"
wait "$WAYBILL_PID" || CODE=$?
printf 'waybill ended with exit code %s\n' "$CODE"
[[ $CODE == 0 ]] || failed "exit code $CODE instead of 0"

if ((FAILED > 0)); then
  printf '\n%s step(s) did not end as announced.\n' "$FAILED"
  exit 1
fi
printf '\nEvery step ended as announced.\n'
