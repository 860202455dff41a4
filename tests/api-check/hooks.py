"""What schemathesis does not know by itself.

Bundles are bytes, whatever is in them. And an address that comes without a valid token too often is told to wait (429), which a
check of every operation does within seconds: so each request without the token comes from an address of its own. All of
127.0.0.0/8 is this machine, and the node is alone in its namespace."""

import itertools
import os
import pathlib

import requests.adapters
import schemathesis

schemathesis.serializer.alias("application/gzip", "application/octet-stream")

TOKEN = "Bearer " + pathlib.Path(os.environ["PENTORA_TOKEN_FILE"]).read_text().strip()
NUMBERS = itertools.count()
send_as_ever = requests.adapters.HTTPAdapter.send


def send(adapter, request, **options):
    if request.headers.get("Authorization") == TOKEN:
        return send_as_ever(adapter, request, **options)
    number = next(NUMBERS)
    own = requests.adapters.HTTPAdapter()
    address = f"127.{1 + number // 62500 % 250}.{number // 250 % 250}.{1 + number % 250}"
    own.init_poolmanager(1, 1, source_address=(address, 0))
    response = send_as_ever(own, request, **options)
    if not options.get("stream"):
        own.close()
    return response


requests.adapters.HTTPAdapter.send = send
