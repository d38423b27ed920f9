#!/usr/bin/env python3
"""Shows that the load test leaves nothing running: it is interrupted, ended and killed at many moments.

    benches/interrupted.py [--load LOAD_TEST_BINARY]

At each moment, by each of SIGINT (to the whole group, as a terminal does), SIGTERM and SIGKILL, no process that it started
may be left, and but for SIGKILL no folder. Without a binary it builds one. Loopback; under a minute.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from faulty import built

# Found in the environment of whatever a run has started.
MARK = "STONECHAT_LOAD_CHECK"
# Accounts are made, the server starts, echoes and sessions come and go.
MOMENTS_S = [0.02, 0.1, 0.3, 0.6, 1.0, 1.5, 2.2, 3.0, 4.0]
# Longest polite end: the server's own.
END_S = 25
# A killed parent's children are killed by the kernel, at once; they still have to be looked for.
GONE_S = 2
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]


def left(mark):
    """Processes that carry the mark."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            # One that has ended and waits for its parent has no environment any more.
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass  # It is gone, or not ours.
    return found


def none_left(mark):
    end = time.monotonic() + GONE_S
    while (found := left(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def check(load, which, moment, scratch):
    """One run; what was wrong with its end."""
    mark = f"{MARK}={os.getpid()}.{which.name}.{moment}"
    folder = scratch / f"{which.name}.{moment}"
    folder.mkdir()
    words = [load, "--bench", "handshake", "idle", "chat", "--quick", "--no-report", "--sessions", "3000"]
    environment = {**os.environ, MARK: mark.split("=")[1], "TMPDIR": str(folder)}
    with open(folder.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, start_new_session=True)
    time.sleep(moment)
    ran = process.poll() is None
    (os.killpg if which == signal.SIGINT else os.kill)(process.pid, which)
    try:
        code = process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"it had not ended after {END_S} s"
    wrong = [f"left running: {words}" for words in none_left(mark)]
    if which != signal.SIGKILL and list(folder.iterdir()) != []:
        wrong.append(f"left behind: {[str(path) for path in folder.iterdir()]}")
    if code == 0:
        wrong.append("its exit code says that all went well")
    if not ran:
        wrong.append(f"it had ended before, with {code}: {folder.with_suffix('.log').read_text()[-300:]}")
    return "; ".join(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=lambda text: pathlib.Path(text).resolve())
    arguments = parser.parse_args()
    load, wrong = arguments.load or built("load"), 0
    with tempfile.TemporaryDirectory(prefix="stonechat-interrupted-") as scratch:
        for which in SIGNALS:
            found = {moment: check(load, which, moment, pathlib.Path(scratch)) for moment in MOMENTS_S}
            for moment, text in found.items():
                if text:
                    print(f"{which.name} after {moment} s: {text}")
            wrong += sum(map(bool, found.values()))
            print(f"{which.name} at {len(found)} moments: {'nothing is left' if not any(found.values()) else 'WRONG'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
