#!/usr/bin/env python3
"""Shows that the load test takes more addresses when ports run short: it runs where an address has few.

    benches/ports.py [--load LOAD_TEST_BINARY]

A network of its own (`unshare --net`) gets 200 ports an address. More sessions than that must come up and many more
connections come and go, and the lines must say from how many addresses. Without a binary it builds one. Needs root, or a
kernel that lets anybody make a network; else it says so and succeeds. Some seconds.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

from faulty import built

PORTS = (40_000, 40_199)
# Sessions at the same time: each needs a port, and half of an address's are used before the next.
SESSIONS = 500
INSIDE = "STONECHAT_LOAD_PORTS"


def inside(load):
    """In the network of its own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{PORTS[0]} {PORTS[1]}")
    words = [load, "--bench", "idle", "handshake", "--quick", "--no-report", "--dialect", "rfc6120", "--sessions", str(SESSIONS)]
    ended = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    ports = [row["ports_per_address"] for row in rows if row["scenario"] == "machine"]
    idle = [row["source_addresses"] for row in rows if row["scenario"] == "idle"]
    handshakes = [row for row in rows if row["scenario"] == "handshake"]
    print(f"exit code {ended.returncode}, ports_per_address={ports}, idle: sessions={SESSIONS} source_addresses={idle}")
    for row in handshakes:
        print(f"handshake: done={row['done']} failed={row['failed']} source_addresses={row['source_addresses']}")
    room = PORTS[1] - PORTS[0] + 1
    right = ended.returncode == 0 and ports == [room] and len(handshakes) == 3
    return right and min(idle) > SESSIONS // room and all(row["failed"] == 0 for row in handshakes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=lambda text: pathlib.Path(text).resolve())
    arguments = parser.parse_args()
    if os.environ.get(INSIDE):
        sys.exit(0 if inside(arguments.load) else 1)
    apart = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*apart, "ip", "link", "show"], capture_output=True).returncode != 0:
        print("NOT TRIED: nobody may make a network of their own here")
        return
    words = [*apart, sys.executable, __file__, "--load", arguments.load or built("load")]
    sys.exit(subprocess.run(words, env={**os.environ, INSIDE: "1"}).returncode)


if __name__ == "__main__":
    main()
