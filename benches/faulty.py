#!/usr/bin/env python3
"""Shows that the load test sees what goes wrong: a proxy between it and the server loses, doubles or reorders messages.

    benches/faulty.py [--load LOAD_TEST_BINARY --server STONECHAT_BINARY]

An untouched run must succeed, and each of the others fail and count nothing but what the proxy did. Without binaries it
builds them. Loopback, free ports, a scratch folder; a few seconds.
"""

import argparse
import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MESSAGE = re.compile(rb"<message .*?</message>", re.S)
# One message in so many is tampered with.
RARE = 101
START_S = 20
FAULTS = [("nothing", None), ("loses", "lost"), ("doubles", "doubled"), ("reorders", "reordered")]
CONFIG = """data_dir = "data"
tls_required = false

[[domain]]
name = "bench.local"
self_signed = true

[[listener]]
kind = "starttls"
addresses = ["127.0.0.1:{port}"]

[limits]
connections_per_address = 1000000
connects_per_address_per_minute = 10000000
connections_before_login_per_address = 1000000
session_bytes_per_s = 0
session_stanzas_per_s = 0
"""


def built(name):
    """The program that cargo builds for the load test, or the server beside it."""
    words = ["cargo", "bench", "--bench", "load", "--no-run", "--message-format=json-render-diagnostics"]
    lines = subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()
    artifacts = [json.loads(line) for line in lines if '"executable":"' in line]
    return pathlib.Path([made["executable"] for made in artifacts if made["target"]["name"] == name][-1])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Proxy:
    """Passes everything on, and tampers with messages that the server sends."""

    def __init__(self, port):
        self.port, self.fault, self.seen = port, "nothing", 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.port))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.pump, args=(client, server, lambda data: data), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, Tamper(self)), daemon=True).start()

    @staticmethod
    def pump(source, sink, change):
        try:
            while data := source.recv(65536):
                sink.sendall(change(data))
        except OSError:
            pass  # One end is gone: so is the other.
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It was shut already.


class Tamper:
    """One connection's way from the server to the client."""

    def __init__(self, proxy):
        self.proxy, self.rest, self.held, self.owes = proxy, b"", b"", False

    def __call__(self, data):
        self.rest += data
        out = b""
        while found := MESSAGE.search(self.rest):
            follows = MESSAGE.search(self.rest, found.end()) is not None
            out += self.rest[: found.start()] + self.message(found.group(0), follows)
            self.rest = self.rest[found.end():]
        # What may be the start of a message waits for its end.
        begun = self.rest.find(b"<message ")
        keep = len(self.rest) if begun < 0 else begun
        out, self.rest = out + self.rest[:keep], self.rest[keep:]
        return out

    def message(self, message, follows):
        self.proxy.seen += 1
        fault, hit = self.proxy.fault, self.proxy.seen % RARE == 0
        self.owes |= fault == "reorders" and hit
        if self.held:
            message, self.held = message + self.held, b""
        elif self.owes and follows:
            # Behind the next, which is here already: one that waited for what never comes would be lost.
            message, self.held, self.owes = b"", message, False
        elif fault == "loses" and hit:
            message = b""
        elif fault == "doubles" and hit:
            message += message
        return message


def serve(binary, folder, port):
    process = subprocess.Popen([binary, "--config", folder / "stonechat.toml"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    sys.exit("the server does not serve")


def stop(process):
    process.terminate()
    process.wait()


def check(arguments, proxy, fault, count):
    """One run; says whether it saw what it should."""
    proxy.fault = fault
    words = [arguments.load, "--bench", "chat", "--dialect", "plain", "--quick", "--no-report", "--pairs", "3", "--window", "10"]
    words += ["--target", f"127.0.0.1:{proxy.listener.getsockname()[1]}", "--domain", "bench.local"]
    ended = subprocess.run(words, capture_output=True, text=True)
    rows = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    counts = [row for row in rows if row.get("scenario") == "chat" and row["dialect"] == "plain"][0]
    counts = {key: counts[key] for key in ("lost", "doubled", "reordered", "refused")}
    right = all((number > 0) == (key == count) for key, number in counts.items())
    right = right and (ended.returncode == 0) == (count is None)
    print(f"the proxy {fault}: exit code {ended.returncode}, {counts}: {'as it should be' if right else 'WRONG'}")
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--server", type=lambda text: pathlib.Path(text).resolve())
    arguments = parser.parse_args()
    # A polite kill ends what was started, like Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not arguments.load or not arguments.server:
        arguments.load, arguments.server = built("load"), built("stonechat")
    with tempfile.TemporaryDirectory(prefix="stonechat-faulty-") as scratch:
        folder, port = pathlib.Path(scratch), free_port()
        (folder / "stonechat.toml").write_text(CONFIG.format(port=port))
        stop(serve(arguments.server, folder, port))
        subprocess.run([arguments.load, "--bench", "--quick", "--write-accounts", folder / "accounts.xml"], check=True)
        importing = [arguments.server, "--config", folder / "stonechat.toml", "import", folder / "accounts.xml"]
        subprocess.run(importing, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        process = serve(arguments.server, folder, port)
        try:
            proxy = Proxy(port)
            right = [check(arguments, proxy, *fault) for fault in FAULTS]
        finally:
            stop(process)
    sys.exit(0 if all(right) else 1)


if __name__ == "__main__":
    main()
