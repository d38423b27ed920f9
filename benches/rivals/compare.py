#!/usr/bin/env python3
"""Runs the load test against Stonechat and other servers, and writes one table.

    benches/rivals/compare.py --load LOAD_TEST_BINARY [--sessions 2000] [--seconds 5] [--rounds 5] [--only NAME] [--out FILE]

`run.sh` beside it installs what is needed, builds the load test and calls this. Each server has the machine to itself
while it is measured. With several rounds a cell is the median and, in brackets, the least and the most.
"""

import argparse
import json
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile

import servers

# Title, scenario, key, what the row must match, digits.
FIGURES = [
    ("empty server, RSS MiB", "idle", "rss_empty_mib", {}, 1),
    ("idle TLS session with presence, RSS KiB", "idle", "rss_per_session_kib", {}, 2),
    ("kept when all have left, %", "idle", "kept_percent", {}, 0),
    ("login with presence, CPU ms", "idle", "cpu_ms_per_login", {}, 3),
    ("login + logout, PLAIN, CPU ms", "storm", "cpu_ms_each", {"mechanism": "PLAIN", "handshake": "full"}, 3),
    ("login + logout, SCRAM-SHA-1, CPU ms", "storm", "cpu_ms_each", {"mechanism": "SCRAM-SHA-1", "handshake": "full"}, 3),
    ("full handshake with STARTTLS, CPU ms", "handshake", "cpu_ms_each", {"dialect": "rfc6120", "handshake": "full"}, 3),
    ("resumed handshake, CPU ms", "handshake", "cpu_ms_each", {"dialect": "rfc6120", "handshake": "resumed"}, 3),
    ("chat, 1 pair, window 1: p50 µs", "chat", "p50_us", {"dialect": "rfc6120", "pairs": 1, "window": 1}, 0),
    ("chat, 1 pair, window 1: p99 µs", "chat", "p99_us", {"dialect": "rfc6120", "pairs": 1, "window": 1}, 0),
    ("chat, 100 pairs, window 10: messages/s", "chat", "messages_per_s", {"dialect": "rfc6120", "pairs": 100, "window": 10}, 0),
    ("chat, 100 pairs, window 10: CPU µs a message", "chat", "cpu_us_per_message", {"dialect": "rfc6120", "pairs": 100, "window": 10}, 1),
    ("presence to 20 contacts: CPU µs a delivery", "presence", "cpu_us_per_delivered", {"contacts": 20}, 1),
]


def run(load, scenarios, options, failures, name):
    """One run of the load test; its rows."""
    command = [load, "--bench", *scenarios, "--dialect", "rfc6120", *map(str, options)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    failures += [f"{name}: {line}" for line in ended.stderr.splitlines() if line.startswith("FAILED")]
    if not rows:
        failures.append(f"{name}: {ended.stderr.strip()[-300:]}")
    return rows


def shared(arguments):
    options = ["--sessions", arguments.sessions, "--contacts", 20, "--seconds", arguments.seconds]
    return options + ["--pairs", 1, "--pairs", 100, "--window", 1, "--window", 10]


LOGINS = ["--mechanism", "PLAIN", "--mechanism", "SCRAM-SHA-1"]


def measure_own(arguments, failures):
    rows = run(arguments.load, ["idle"], shared(arguments), failures, "Stonechat")
    return rows + run(
        arguments.load, ["storm", "handshake", "chat", "presence"], shared(arguments) + LOGINS, failures, "Stonechat"
    )


def measure_rival(kind, arguments, file, folder, failures):
    server = kind(folder, "bench.local")
    rows = []
    try:
        server.prepare(file)
        for scenarios, more in (["idle"], server.quiet), (["storm", "handshake", "chat", "presence"], LOGINS):
            server.start()
            options = shared(arguments) + ["--target", f"127.0.0.1:{server.port}", "--domain", server.domain]
            for pid in server.pids():
                options += ["--server-pid", pid]
            rows += run(arguments.load, scenarios, options + more, failures, kind.name)
            server.stop()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        failures.append(f"{kind.name}: {error}")
    finally:
        server.stop()
    return rows


def cell(rounds, scenario, key, wanted, digits):
    """A figure of all rounds."""
    found = []
    for rows in rounds:
        fits = [row for row in rows if row["scenario"] == scenario and all(row.get(k) == v for k, v in wanted.items())]
        found += [row[key] for row in fits[:1] if row.get(key) is not None]
    if not found:
        return "–"
    middle = f"{statistics.median(found):.{digits}f}"
    return middle if len(found) == 1 else f"{middle} [{min(found):.{digits}f}..{max(found):.{digits}f}]"


def table(measured):
    names = list(measured)
    lines = ["| figure | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for title, *figure in FIGURES:
        lines.append(f"| {title} | " + " | ".join(cell(measured[name], *figure) for name in names) + " |")
    return "\n".join(lines) + "\n"


def main():
    # A polite kill ends like Ctrl-C: what was started is ended, and the scratch folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", required=True)
    parser.add_argument("--sessions", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", help="a server's name; may be repeated")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    kinds = [kind for kind in servers.RIVALS if not arguments.only or kind.name in arguments.only]
    measured, failures = {"Stonechat": []}, []
    with tempfile.TemporaryDirectory(prefix="stonechat-rivals-") as scratch:
        file = pathlib.Path(scratch) / "accounts.xml"
        options = [*map(str, shared(arguments)), "--clear-passwords", "--write-accounts", str(file)]
        subprocess.run([arguments.load, "--bench", *options], check=True)
        for number in range(arguments.rounds):
            measured["Stonechat"].append(measure_own(arguments, failures))
            for kind in kinds:
                print(f"round {number + 1} of {arguments.rounds}: {kind.name}", file=sys.stderr)
                folder = pathlib.Path(scratch) / f"{re.sub('[^a-z0-9]', '', kind.name)}{number}"
                measured.setdefault(kind.name, []).append(measure_rival(kind, arguments, file, folder, failures))
    text = table(measured) + "".join(f"\nFAILED {line}" for line in failures)
    print(text)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(text + "\n")
    sys.exit(1 if failures else 0)


main()
