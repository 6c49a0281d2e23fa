#!/usr/bin/env python3
"""A client in Python: asks for one dispatch, and follows it to its end.

    WAYBILL_ENDPOINT=127.0.0.1:50051 python3 client.py SO-1 NLRTM 3

WAYBILL_TLS_CA names the file with the CA of the server's certificate and switches TLS on; then WAYBILL_TOKEN is sent as
a bearer token. Needs the packages of requirements.txt.
"""

import os
import pathlib
import random
import sys
import time
import uuid

import grpc

sys.path.append(str(pathlib.Path(__file__).resolve().parents[3] / "proto"))
messages, services = grpc.protos_and_services("dispatch/v1/gateway.proto")  # compiled now, by grpcio-tools

ATTEMPTS, LONGEST = 10, 5.0
# After these, asking again is safe and of use.
PASSING = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
ENDS = ("DISPATCH_STATE_COMPLETED", "DISPATCH_STATE_CANCELLED", "DISPATCH_STATE_STUCK")


def channel():
    endpoint = os.environ.get("WAYBILL_ENDPOINT", "127.0.0.1:50051")
    ca = os.environ.get("WAYBILL_TLS_CA")
    if not ca:
        return grpc.insecure_channel(endpoint)
    credentials = grpc.ssl_channel_credentials(pathlib.Path(ca).read_bytes())
    if token := os.environ.get("WAYBILL_TOKEN"):
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(endpoint, credentials)


def again(ask):
    """The answer to `ask()`, asked again with growing pauses, each a different one for everybody."""
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except grpc.RpcError as error:
            if error.code() not in PASSING or attempt == ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0.5, 1) * min(0.1 * 2**attempt, LONGEST))


def follow(gateway, dispatch_id):
    """The state in which it ends. A watch that breaks goes on after the last version that was seen."""
    seen, state = 0, ""

    def watch():
        nonlocal seen, state
        request = messages.WatchDispatchRequest(dispatch_id=dispatch_id, after_version=seen)
        for transition in gateway.WatchDispatch(request):
            seen, state = transition.version, messages.DispatchState.Name(transition.state)
            print(transition.event, state, flush=True)

    while state not in ENDS:
        again(watch)
    return state


def main(order_id, destination, parcels):
    gateway = services.DispatchGatewayStub(channel())
    request = messages.DispatchRequested(
        # One id for all attempts: it is what makes asking again harmless. Keep it with the order.
        message_id=str(uuid.uuid4()),
        order_id=order_id,
        destination_code=destination,
        parcel_count=int(parcels),
    )
    receipt = again(lambda: gateway.RequestDispatch(request, timeout=5))
    print("accepted", receipt.dispatch_id, flush=True)
    print(follow(gateway, receipt.dispatch_id))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("ORDER DESTINATION PARCELS")
    main(*sys.argv[1:])
