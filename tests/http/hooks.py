"""What the description says in words only, so that a request that is meant to be good is good.

Whatever schemathesis makes wrong on purpose is left as it is.
"""

import schemathesis


def is_meant_to_be_good(case):
    return case.meta is None or case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    # A header that nobody knows is no fault: every client and every proxy adds some.
    for name in [name for name in case.headers or {} if "unknown-property" in name]:
        case.headers.pop(name)
    if not is_meant_to_be_good(case):
        return
    if case.operation.label == "GET /v1/dispatches" and isinstance(case.query, dict):
        # Only a page before gives one.
        case.query.pop("page_token", None)
    if case.operation.label == "POST /v1/dispatches" and isinstance(case.body, dict):
        # One of the two names a request, and no moment lies ahead.
        if "Idempotency-Key" in (case.headers or {}):
            case.body.pop("message_id", None)
        elif not case.body.get("message_id"):
            case.body["message_id"] = "m"
        case.body.pop("requested_at", None)
