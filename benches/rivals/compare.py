#!/usr/bin/env python3
"""Runs the load test against Stonechat and other servers, and writes one table.

    benches/rivals/compare.py --load LOAD_TEST_BINARY [--sessions 10000] [--seconds 5] [--rounds 5] [--only SERVER]
        [--results DIR] [--minutes N] [--scenario-seconds N] [--out FILE] [--picture SVG] [--into FILE…]

`run.sh` beside it installs what is needed, builds the load test and calls this. Each server has the machine to itself
while it is measured, and is started anew for each scenario. What a scenario printed is kept in DIR, one file for each
server, round and scenario, and not measured again: so the whole may be done in pieces, a server or some minutes at a time, and
the table is made from all that is there. With several rounds a cell is the median and, in brackets, the least and
the most; where it comes from fewer rounds than others, it says from how many.
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
import time

import servers

OWN = "Stonechat"
CHAT = {"dialect": "rfc6120"}
# Title, scenario, key, what the row must match, digits, whether less is better (None: it is not compared).
FIGURES = [
    ("empty server, RSS MiB", "idle", "rss_empty_mib", {}, 1, True),
    ("idle TLS session with presence, RSS KiB", "idle", "rss_per_session_kib", {}, 2, True),
    ("the same, PSS KiB", "idle", "pss_per_session_kib", {}, 2, None),
    ("its socket in the kernel, KiB", "idle", "kernel_per_session_kib", {}, 1, None),
    ("kept when all have left, %", "idle", "kept_percent", {}, 0, None),
    ("login with presence, CPU ms", "idle", "cpu_ms_per_login", {}, 3, True),
    ("login + logout, PLAIN, CPU ms", "storm", "cpu_ms_each", {"mechanism": "PLAIN", "handshake": "full"}, 3, True),
    ("login + logout, SCRAM-SHA-1, CPU ms", "storm", "cpu_ms_each", {"mechanism": "SCRAM-SHA-1", "handshake": "full"}, 3, True),
    ("logins/s, PLAIN", "storm", "per_s", {"mechanism": "PLAIN", "handshake": "full"}, 0, False),
    ("full handshake with STARTTLS, CPU ms", "handshake", "cpu_ms_each", {"dialect": "rfc6120", "handshake": "full"}, 3, True),
    ("resumed handshake, CPU ms", "handshake", "cpu_ms_each", {"dialect": "rfc6120", "handshake": "resumed"}, 3, True),
    ("chat, 1 pair, window 1: p50 µs", "chat", "p50_us", {**CHAT, "pairs": 1, "window": 1}, 0, True),
    ("chat, 1 pair, window 1: p99 µs", "chat", "p99_us", {**CHAT, "pairs": 1, "window": 1}, 0, True),
    ("chat, 100 pairs, window 10: messages/s", "chat", "messages_per_s", {**CHAT, "pairs": 100, "window": 10}, 0, False),
    ("chat, 100 pairs, window 10: CPU µs a message", "chat", "cpu_us_per_message", {**CHAT, "pairs": 100, "window": 10}, 1, True),
    ("presence to 20 contacts: CPU µs a delivery", "presence", "cpu_us_per_delivered", {"contacts": 20}, 1, True),
]
# Those of the picture.
PICTURED = {
    "idle TLS session with presence, RSS KiB",
    "login + logout, PLAIN, CPU ms",
    "chat, 100 pairs, window 10: CPU µs a message",
    "presence to 20 contacts: CPU µs a delivery",
}
SCENARIOS = ["idle", "storm", "handshake", "chat", "presence"]
# Debian's packages, for their versions.
PACKAGES = {"prosody": "prosody", "prosody-gc200": "prosody", "ejabberd": "ejabberd", "jabberd2": "jabberd2"}


def run(arguments, scenario, options):
    """One run of one scenario; what it printed, and what failed."""
    command = [arguments.load, "--bench", scenario, "--dialect", "rfc6120", "--no-report", *map(str, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    late = []
    try:
        out, errors = process.communicate(timeout=arguments.scenario_seconds)
    except subprocess.TimeoutExpired:
        # Asked politely, it ends what it has started.
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate()
        late = [f"{scenario} had not ended after {arguments.scenario_seconds} s"]
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    failures = [line.removeprefix("FAILED: ")[:300] for line in errors.splitlines() if line.startswith("FAILED")] + late
    skipped = [line for line in out.splitlines() if " skipped=" in line or " tried_again=" in line]
    if not rows:
        failures.append(errors.strip()[-300:] or "nothing was printed")
    return {"rows": rows, "failures": failures, "notes": skipped}


def options_of(arguments, scenario, quiet):
    options = ["--sessions", arguments.sessions, "--contacts", 20, "--seconds", arguments.seconds]
    options += ["--pairs", 1, "--pairs", 100, "--window", 1, "--window", 10, "--no-hubs"]
    return options + (["--mechanism", "PLAIN", "--mechanism", "SCRAM-SHA-1"] if scenario == "storm" else quiet)


class Own:
    """Stonechat, which the load test starts by itself."""

    name = OWN

    def __init__(self, folder):
        pass

    def measure(self, arguments, scenario):
        return run(arguments, scenario, options_of(arguments, scenario, []))

    def close(self):
        pass


def rival(kind):
    class Rival:
        """Another server; its accounts are made once."""

        name = kind.name

        def __init__(self, folder):
            self.folder, self.server = folder, None

        def measure(self, arguments, scenario):
            try:
                if self.server is None:
                    file = self.folder / "accounts.xml"
                    options = options_of(arguments, scenario, [])
                    words = [arguments.load, "--bench", *map(str, options), "--clear-passwords", "--write-accounts", file]
                    subprocess.run(words, check=True)
                    self.server = kind(self.folder / "server", "bench.local")
                    self.server.prepare(file)
                self.server.start()
                options = options_of(arguments, scenario, self.server.quiet)
                options += ["--target", f"127.0.0.1:{self.server.port}", "--domain", self.server.domain]
                for pid in self.server.pids():
                    options += ["--server-pid", pid]
                return run(arguments, scenario, options)
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                return {"rows": [], "failures": [str(error)[-300:]], "notes": []}
            finally:
                self.close()

        def close(self):
            if self.server:
                self.server.stop()

    return Rival


def file_of(results, name, number, scenario):
    return results / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.{number}.{scenario}.json"


def measure(kind, arguments, end):
    """All rounds and scenarios of a server that are not there yet; `False` when the time is up."""
    todo = [(number, scenario) for number in range(arguments.rounds) for scenario in SCENARIOS]
    todo = [which for which in todo if not file_of(arguments.results, kind.name, *which).exists()]
    with tempfile.TemporaryDirectory(prefix="stonechat-rivals-") as scratch:
        server = kind(pathlib.Path(scratch))
        try:
            for number, scenario in todo:
                if time.monotonic() > end:
                    return False
                print(f"{kind.name}, round {number + 1} of {arguments.rounds}: {scenario}", file=sys.stderr)
                result = server.measure(arguments, scenario)
                result |= {"server": kind.name, "round": number, "scenario": scenario, "sessions": arguments.sessions}
                file_of(arguments.results, kind.name, number, scenario).write_text(json.dumps(result, indent=1) + "\n")
        finally:
            server.close()
    return True


def numbers(results, scenario, key, wanted):
    """A figure of all rounds."""
    found = []
    for result in results:
        rows = [row for row in result["rows"] if row["scenario"] == scenario and all(row.get(k) == v for k, v in wanted.items())]
        found += [row[key] for row in rows[:1] if row.get(key) is not None]
    return found


def cell(found, digits, rounds):
    """The median, with the least and the most of several; of fewer than all rounds it says of how many."""
    if not found:
        return "–"
    text = f"{statistics.median(found):.{digits}f}"
    if len(found) > 1:
        text += f" [{min(found):.{digits}f}..{max(found):.{digits}f}]"
    return text if len(found) == rounds else f"{text} (of {len(found)})"


def rounds_of(measured):
    return max((result["round"] + 1 for results in measured.values() for result in results), default=0)


def lead(measured, names, figure, less):
    """How many times better Stonechat is than the best of the others."""
    middles = {name: statistics.median(found) for name in names if (found := numbers(measured[name], *figure))}
    own, others = middles.pop(OWN, None), list(middles.values())
    if less is None or not own or not others:
        return "–"
    return f"{min(others) / own:.1f}" if less else f"{own / max(others):.1f}"


def table(measured, only=None):
    names, rounds = list(measured), rounds_of(measured)
    lines = ["| figure | " + " | ".join(names) + " | best other ÷ Stonechat |", "|---|" + "---:|" * (len(names) + 1)]
    for title, scenario, key, wanted, digits, less in FIGURES:
        if only and title not in only:
            continue
        figure = scenario, key, wanted
        cells = [cell(numbers(measured[name], *figure), digits, rounds) for name in names]
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {lead(measured, names, figure, less)} |")
    return "\n".join(lines) + "\n\n" + about(measured, only)


def about(measured, only):
    """What stands under the table: how it came about, and why something is missing."""
    results = [result for name in measured for result in measured[name]]
    rounds, sessions = rounds_of(measured), sorted({result["sessions"] for result in results})
    text = f"{rounds} round{'s' * (rounds > 1)}, {' or '.join(f'{count:,}' for count in sessions)} sessions"
    text += ", median [least..most]" * (rounds > 1)
    machines = {(row["processor"], row["kernel"], row["cores"]) for result in results for row in result["rows"] if row["scenario"] == "machine"}
    for processor, kernel, cores in sorted(machines):
        text += f"; {processor}, {cores} cores, Linux {kernel}"
    text += "".join(f"; {name} {version}" for name in measured if (version := version_of(name))) + ".\n"
    if not only:
        text += "".join(f"\n- {reason}" for reason in missing(results)) + "\n" * bool(missing(results))
    return text


def missing(results):
    """What failed, each once."""
    # Of a stream error its name is enough.
    name = re.compile(r"<stream:error[^>]*><([a-z-]+).*", re.S)
    shown = [(result["server"], name.sub(r"`<\1/>`", reason)) for result in results for reason in result["failures"]]
    return list(dict.fromkeys(f"{server}, {reason}" for server, reason in shown))


def version_of(name):
    """The installed package's version; none for Stonechat."""
    if name not in PACKAGES:
        return None
    asked = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", PACKAGES[name]], capture_output=True, text=True)
    return asked.stdout if asked.returncode == 0 else None


def put(file, measured):
    """Puts the table where a document has a place for it: a whole one, or one of the pictured figures."""
    text = file.read_text()
    for name, only in ("comparison", None), ("comparison in short", PICTURED):
        place = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        text = place.sub(lambda found: f"{found[1]}\n{table(measured, only)}\n{found[2]}", text)
    file.write_text(text)


def draw(load, measured, file):
    lines = []
    for title, scenario, key, wanted, digits, _ in FIGURES:
        if title in PICTURED:
            found = {name: numbers(results, scenario, key, wanted) for name, results in measured.items()}
            lines += [f"{title}\t{name}\t{statistics.median(all_of):.{digits}f}\n" for name, all_of in found.items() if all_of]
    subprocess.run([load, "--bench", "--picture", file], input="".join(lines), text=True, check=True)


def collect(folder):
    """Everything that was measured, by server."""
    measured = {}
    for file in sorted(folder.glob("*.json")):
        result = json.loads(file.read_text())
        measured.setdefault(result["server"], []).append(result)
    return {name: measured[name] for name in sorted(measured, key=lambda name: (name != OWN, name))}


def main():
    # A polite kill ends like Ctrl-C: what was started is ended, and the scratch folder goes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", required=True)
    parser.add_argument("--sessions", type=int, default=10000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", action="append", help="a server's name, 'table' for none; may be repeated")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("target/rivals"))
    parser.add_argument("--minutes", type=float, default=1e6, help="nothing is begun after so many")
    parser.add_argument("--scenario-seconds", type=float, help="longest run of one scenario (default: 2 minutes, and 1 s for 20 sessions)")
    parser.add_argument("--out")
    parser.add_argument("--into", type=pathlib.Path, action="append", default=[], help="a document with a place for the table")
    parser.add_argument("--picture", help="an SVG of the most telling figures")
    arguments = parser.parse_args()
    if arguments.scenario_seconds is None:
        # A slow server takes in twenty sessions a second and lets as many go.
        arguments.scenario_seconds = 120 + arguments.sessions / 20
    arguments.results.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + arguments.minutes * 60
    for kind in [Own] + [rival(kind) for kind in servers.RIVALS]:
        if (not arguments.only or kind.name in arguments.only) and not measure(kind, arguments, end):
            print("the time is up; the same command goes on from here", file=sys.stderr)
            break
    measured = collect(arguments.results)
    failures = [line for results in measured.values() for result in results for line in result["failures"]]
    text = table(measured)
    print(text)
    if arguments.out:
        pathlib.Path(arguments.out).write_text(text + "\n")
    for file in arguments.into:
        put(file, measured)
    if arguments.picture:
        draw(arguments.load, measured, arguments.picture)
    sys.exit(1 if failures else 0)


main()
