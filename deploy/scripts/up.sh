#!/usr/bin/env bash
# Builds and starts the stack (a private RabbitMQ or the one WAYBILL_AMQP_URL names, an SQLite file, Waybill with all
# its roles) and prints requests to try.
#
#   up.sh            stays in the foreground and stops everything on Ctrl-C
#   up.sh --detach   leaves it running in the background until down.sh
#
# Its state is in .local/up and goes when it stops.
set -euo pipefail
# shellcheck source=deploy/scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DIR=$ROOT/.local/up
DOWN=$ROOT/deploy/scripts/down.sh

if running_process "$DIR/waybill.pid" >/dev/null; then die "it is already up; stop it with: make down"; fi
"$DOWN" # what a crash may have left
build_waybill
mkdir -p "$DIR"

# Whatever ends this script before the stack stands, or after it stood in the foreground, takes the stack down.
trap 'trap "" INT TERM HUP; "$DOWN"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

GRPC_PORT=$(free_port 50051) HTTP_PORT=$(free_port 9464)
if ! start_stack "$DIR" "$GRPC_PORT" "$HTTP_PORT"; then
  keep_logs "$DIR" 1
  exit 1
fi

ADDRESS=127.0.0.1:$GRPC_PORT SERVICE=dispatch.v1.DispatchGateway
cat <<TEXT

Waybill is up.
  gRPC           $ADDRESS
  health         http://127.0.0.1:$HTTP_PORT
  broker         $WAYBILL_AMQP_URL
  log            $DIR/waybill.log

Requests to try (grpcurl finds everything by reflection):

  grpcurl -plaintext $ADDRESS list
  grpcurl -plaintext $ADDRESS describe $SERVICE
  grpcurl -plaintext -d '{"message_id":"m-1","order_id":"SO-1","destination_code":"NLRTM","parcel_count":3,"customer_id":"acme"}' \\
    $ADDRESS $SERVICE/RequestDispatch
  grpcurl -plaintext -d '{"message_id":"m-1"}' $ADDRESS $SERVICE/GetDispatch
  grpcurl -plaintext -d '{"dispatch_id":"<from the receipt>"}' $ADDRESS $SERVICE/WatchDispatch
  grpcurl -plaintext -d '{"page_size":10}' $ADDRESS $SERVICE/ListDispatches
  grpcurl -plaintext -d '{"dispatch_id":"<from the receipt>","reason":"the customer changed his mind"}' \\
    $ADDRESS $SERVICE/CancelDispatch

or the same by Waybill's own client:

  $WAYBILL submit --endpoint http://$ADDRESS --order-id SO-2 --destination NLRTM --parcels 3 --customer acme --wait

TEXT

if [[ ${1:-} == --detach ]]; then
  trap - EXIT INT TERM HUP
  log "It runs in the background. Stop it with: make down"
else
  log "Ctrl-C stops it."
  CODE=0
  wait "$WAYBILL_PID" || CODE=$? # ends here only if Waybill ends by itself
  keep_logs "$DIR" 1
  die "waybill ended with exit code $CODE"
fi
