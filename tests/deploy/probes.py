#!/usr/bin/env python3
"""Asks a container what its pod's probes say, as Kubernetes does it, and writes down what came of it.

usage: probes.py PROBES.json LOG     until it is ended; run in the pod's own network

podman 4.3 makes of `httpGet` a command with curl inside the container, and there is none in this image. So the probes are taken as the
manifest has them, with their periods and thresholds, and asked from outside, where a cluster asks them: by HTTP, with whatever
certificate. In LOG, a line for each change of an answer: seconds since the start, the probe, and `ok` or why not. Where Kubernetes would
start the container again, a line says `restart`.
"""
import json
import ssl
import sys
import time
import urllib.error
import urllib.request

STARTUP, LIVENESS, READINESS = "startupProbe", "livenessProbe", "readinessProbe"
probes = json.load(open(sys.argv[1]))
began, said = time.monotonic(), {}
anybody = ssl.create_default_context()
anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE


def note(probe, what):
    if said.get(probe) != what:
        said[probe] = what
        with open(sys.argv[2], "a") as log:
            log.write(f"{time.monotonic() - began:.1f} {probe} {what}\n")


def asked(probe):
    """Whether a probe is well now."""
    get = probes[probe]["httpGet"]
    url = f"{get['scheme'].lower()}://127.0.0.1:{get['port']}{get['path']}"
    try:
        # Kubernetes' own limit where the manifest names none.
        with urllib.request.urlopen(url, timeout=probes[probe].get("timeoutSeconds", 1), context=anybody):
            note(probe, "ok")
            return True
    except urllib.error.HTTPError as error:
        note(probe, f"{error.code} {error.read(300).decode(errors='replace')}")
    except OSError as error:
        note(probe, f"no answer: {error}")
    return False


def period(probe):
    return probes[probe].get("periodSeconds", 10)


failed = 0
while not asked(STARTUP):
    failed += 1
    if failed >= probes[STARTUP].get("failureThreshold", 3):
        note(STARTUP, "restart")
        failed = 0
    time.sleep(period(STARTUP))
failed, due = 0, {LIVENESS: 0.0, READINESS: 0.0}
while True:
    probe = min(due, key=due.get)
    time.sleep(max(0.0, due[probe] - time.monotonic()))
    due[probe] = time.monotonic() + period(probe)
    is_well = asked(probe)
    if probe == LIVENESS:
        failed = 0 if is_well else failed + 1
        if failed >= probes[LIVENESS].get("failureThreshold", 3):
            note(LIVENESS, "restart")
            failed = 0
