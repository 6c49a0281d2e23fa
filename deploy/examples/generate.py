#!/usr/bin/env python3
"""Writes the thousand dispatches of dispatches.jsonl: python3 generate.py > dispatches.jsonl

One JSON object a line, with the field names of dispatch.v1.DispatchRequested. The seed is fixed, so the file comes
out the same every time. With Waybill's default rules each line has an outcome that is known beforehand:

* about 3 % go to a destination ZZ…, which the dispatch participant refuses;
* about 3 % cost more than the credit limit of 1000.00 EUR, which the payment participant declines;
* about 3 % are from customers blocked-1 to blocked-5, refused by the order participant if
  WAYBILL_ORDER_BLOCKED_CUSTOMERS lists them;
* all others complete: no customer of theirs reaches the limit, whatever the order of arrival.
"""

import json
import random
import sys
import uuid
from collections import Counter

COUNT = 1000
REFUSED_EACH = 30
CREDIT_LIMIT = 100_000  # in cents, like every amount
TARIFF_PER_PARCEL = 490

# UN/LOCODE: two letters for the country, three for the place.
DESTINATIONS = """
    NLRTM NLAMS BEANR BEZEE DEHAM DEBRV DEBRE DEDUS FRLEH FRMRS FRLYS GBFXT GBSOU GBLGP GBLIV IEDUB IEORK ESVLC ESALG
    ESBCN PTSIE PTLIS PTLEI ITGOA ITTRS ITMIL CHBSL CHZRH ATVIE HUBUD CZPRG PLGDN PLGDY PLSZZ SIKOP HRRJK GRPIR ROCND
    BGVAR TRIST TRIZM DKCPH DKAAR SEGOT SESTO NOOSL NOBGO FIHEL EETLL LVRIX LTKLJ EGPSD MACAS ZADUR AEJEA SAJED INNSA
    LKCMB SGSIN MYPKG THLCH VNSGN PHMNL HKHKG CNSHA CNNGB TWKHH KRPUS JPTYO JPYOK AUSYD AUMEL NZAKL USNYC USLAX USSAV
    CAMTR CAVAN MXZLO PABLB BRSSZ ARBUE CLVAP PECLL
""".split()
REFUSED_DESTINATIONS = ["ZZNOW", "ZZTOP", "ZZAAA", "ZZXYZ"]
CUSTOMERS = [f"cust-{number:04}" for number in range(1, 451)]
LAVISH_CUSTOMERS = [f"cust-{number:04}" for number in range(901, 926)]  # they order nothing else
BLOCKED_CUSTOMERS = [f"blocked-{number}" for number in range(1, 6)]


def price(dispatch):
    amount = dispatch.get("amount")
    return amount["minor_units"] if amount else dispatch["parcel_count"] * TARIFF_PER_PARCEL


def main():
    rng = random.Random(20260101)
    kinds = ["refused", "declined", "blocked"] * REFUSED_EACH
    kinds += ["good"] * (COUNT - len(kinds))
    rng.shuffle(kinds)

    spent = Counter()
    for number, kind in enumerate(kinds, start=1):
        dispatch = {
            "message_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "order_id": f"SO-2026-{number:06}",
            "destination_code": rng.choice(REFUSED_DESTINATIONS if kind == "refused" else DESTINATIONS),
            # mostly one or two parcels, now and then a dozen
            "parcel_count": min(12, 1 + int(rng.expovariate(0.5))),
        }
        if kind == "declined":
            dispatch["customer_id"] = rng.choice(LAVISH_CUSTOMERS)
            minor_units = CREDIT_LIMIT + rng.randrange(1, 400_000)
        else:
            dispatch["customer_id"] = rng.choice(BLOCKED_CUSTOMERS if kind == "blocked" else CUSTOMERS)
            minor_units = rng.randrange(990, 15_000, 10)
        if kind == "declined" or rng.random() < 0.5:
            dispatch["amount"] = {"currency_code": "EUR", "minor_units": minor_units}
        if kind in ("good", "refused"):
            spent[dispatch["customer_id"]] += price(dispatch)
        json.dump(dispatch, sys.stdout, separators=(",", ":"))
        print()

    assert max(spent.values()) < CREDIT_LIMIT, spent.most_common(3)


if __name__ == "__main__":
    main()
