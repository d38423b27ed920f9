#!/usr/bin/env python3
"""Counts the instructions of the small benches under callgrind, and fails when an operation has grown by more than 5 %.

    benches/instructions.py                      compare with benches/instructions.txt, and that with the landed one
    benches/instructions.py --against COMMIT     compare with what COMMIT takes, built here
    benches/instructions.py --write              write what was counted to benches/instructions.txt
    benches/instructions.py --functions CASE     the functions that an operation spends its instructions in
    benches/instructions.py … CASE …             only these cases

A growth is explained in benches/instructions.txt: behind the new figure stands `# why`, in words that were not there
before. Figures of another compiler, C library, valgrind or processor cannot be compared; then the landed commit is built
and counted too. Needs valgrind, cargo and git.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIGURES = "benches/instructions.txt"
GROWTH_MAX = 0.05
# Smaller changes are not written down: they are noise, and noise in a file that everybody changes is a conflict.
WRITTEN_MIN = 0.01
# What `benches/small/meter.rs` measures.
MEASURED = "*small::meter::measured*"
HEADER = """\
# Instructions an operation of the small benches takes, as benches/instructions.py counts them and --write writes them.
# A figure that has grown by more than 5 % says why: `case instructions # why`, in words that the last commit had not.
"""


def output(*command, **how):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **how).stdout


class Figures:
    """What stands in the file: the toolchain, and for each case its instructions and the reason of its growth."""

    def __init__(self, toolchain, counts, reasons):
        self.toolchain, self.counts, self.reasons = toolchain, counts, reasons

    @classmethod
    def parse(cls, text):
        figures = cls(None, {}, {})
        for line in text.splitlines():
            if line.startswith("toolchain "):
                figures.toolchain = line.removeprefix("toolchain ")
            elif line and not line.startswith("#"):
                numbers, _, reason = line.partition("#")
                case, count = numbers.split()
                figures.counts[case], figures.reasons[case] = int(count), reason.strip()
        return figures

    def text(self):
        lines = (f"{case} {count}" + (f" # {self.reasons[case]}" if self.reasons.get(case) else "") for case, count in self.counts.items())
        return HEADER + "\n".join([f"toolchain {self.toolchain}", *lines]) + "\n"


def grown(old, new):
    """Cases that take more than 5 % more."""
    return [case for case, count in new.items() if case in old and count > old[case] * (1 + GROWTH_MAX)]


def unexplained(cases, reasons, landed_reasons):
    """Those whose reason is missing, or is that of an earlier growth."""
    return [case for case in cases if not reasons.get(case) or reasons[case] == landed_reasons.get(case)]


def check_itself():
    """The rules, on figures made up for it."""
    landed = Figures.parse("# words\ntoolchain t\na 100\nb 100 # an old reason\nc 100\n")
    assert (landed.toolchain, landed.counts["b"], landed.reasons["b"]) == ("t", 100, "an old reason")
    assert Figures.parse(landed.text()).__dict__ == landed.__dict__
    assert grown(landed.counts, {"a": 105, "b": 106, "c": 40, "new": 900}) == ["b"]
    assert unexplained(["a", "b"], landed.reasons, landed.reasons) == ["a", "b"]
    assert unexplained(["a", "b"], {"a": "it does more", "b": "another reason"}, landed.reasons) == []


def toolchain():
    """All that the figures depend on beside the source."""
    rustc = dict(line.split(": ", 1) for line in output("rustc", "--version", "--verbose").splitlines()[1:] if ": " in line)
    flags = re.search(r"^flags.*$", pathlib.Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    # Valgrind hands these on to the code that chooses by them.
    chosen = [flag for flag in ("avx", "avx2", "bmi2", "adx", "pclmulqdq", "aes") if flags and flag in flags[0].split()]
    parts = [f"rustc {rustc['release']} {rustc['commit-hash'][:9]} {rustc['host']}", output("valgrind", "--version").strip()]
    return "; ".join([*parts, " ".join(platform.libc_ver()), " ".join(chosen) or "no processor features"])


def build(tree, target, into):
    """Builds the small benches of a source tree as they are shipped, but with symbols; returns a copy of the program."""
    # Only the last step differs from `cargo bench`: what is compiled for the release serves here too.
    command = ["cargo", "rustc", "--profile", "bench", "--bench", "small", "--message-format=json-render-diagnostics"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    built = output(*command, "--", "-C", "strip=none", cwd=tree, env=environment)
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "small":
            return shutil.copy(message["executable"], into)
    sys.exit(f"{tree}: cargo has built no bench called small")


def callgrind(program, case, into):
    """Runs a case; returns where callgrind has written what it counted."""
    out = f"{into}/{case}.callgrind"
    command = ["valgrind", "--tool=callgrind", f"--toggle-collect={MEASURED}", f"--callgrind-out-file={out}", program, "--case", case]
    # An empty environment: its size moves the stack, and with it what is aligned.
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={})
    if ran.returncode != 0:
        sys.exit(f"{case} failed under callgrind:\n{ran.stdout}")
    return out


def cases_of(program):
    return {name: int(ops) for name, ops in (line.split() for line in output(program, "--list").splitlines())}


def count(program, wanted):
    """Instructions an operation of each case."""
    cases = {case: ops for case, ops in cases_of(program).items() if not wanted or case in wanted}

    def one(case):
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(callgrind(program, case, folder)).read_text()
        total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)[1])
        assert total > 0, f"{case}: nothing was counted; is {MEASURED} still what is measured?"
        return round(total / cases[case])

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(cases, pool.map(one, cases)))


def landed_commit():
    """The commit that this one comes after: where it left main, or its parent; none without a history."""
    left_main = [["merge-base", "HEAD", main] for main in ("origin/main", "main")]
    for guess in (*left_main, ["rev-parse", "--verify", "HEAD~1"]):
        found = subprocess.run(["git", *guess], cwd=ROOT, capture_output=True, text=True)
        if found.returncode == 0 and found.stdout != output("git", "rev-parse", "HEAD", cwd=ROOT):
            return found.stdout.strip()
    return None


def figures_of(commit):
    """The figures in a commit; none if it has no such file."""
    shown = subprocess.run(["git", "show", f"{commit}:{FIGURES}"], cwd=ROOT, capture_output=True, text=True)
    return Figures.parse(shown.stdout) if shown.returncode == 0 else Figures(None, {}, {})


def count_commit(commit, wanted, folder):
    """What a commit takes, built beside this one."""
    tree = ROOT / "target/instructions/tree"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    archive = f"{folder}/tree.tar"
    if subprocess.run(["git", "archive", "-o", archive, commit], cwd=ROOT).returncode != 0:
        sys.exit(f"git has no commit {commit}")
    # With the time of now on each file, else cargo takes what it built of a later commit for the newer.
    output("tar", "-x", "-m", "-f", archive, cwd=tree)
    if not (tree / "benches/small/main.rs").exists():
        return {}
    return count(build(tree, ROOT / "target/instructions/build", f"{folder}/before"), wanted)


def tell(counts, before):
    for case, instructions in counts.items():
        line = f"instructions/{case} instructions={instructions}"
        if case in before:
            line += f" before={before[case]} change={100 * (instructions / before[case] - 1):+.1f}%"
        print(line)


def fail(cases, old, new, what):
    """Says which cases have grown; whether there are any."""
    for case in cases:
        print(f"GROWN {case}: {old[case]} -> {new[case]} instructions, {100 * (new[case] / old[case] - 1):.1f} %; {what}")
    return bool(cases)


def compare(wanted, program, folder):
    """What `.ci/run` asks for; the exit code."""
    kept, here, landed = Figures.parse((ROOT / FIGURES).read_text()), toolchain(), landed_commit()
    counts = count(program, wanted)
    past = figures_of(landed) if landed else Figures(None, {}, {})
    if landed is None:
        print("there is no commit before this one: nothing says which figures have landed")
    why = f"say why behind its figure in {FIGURES}, in new words"
    if here != kept.toolchain:
        print(f"OTHER TOOLCHAIN: the figures in {FIGURES} cannot be compared\n  kept: {kept.toolchain}\n  here: {here}")
        before = count_commit(landed, wanted, folder) if landed else {}
        tell(counts, before)
        if not before:
            print("NOTHING IS COMPARED: there is no earlier commit with small benches to build")
        return fail(unexplained(grown(before, counts), kept.reasons, past.reasons), before, counts, why)
    tell(counts, kept.counts)
    failed = fail(grown(kept.counts, counts), kept.counts, counts, "run benches/instructions.py --write, and " + why)
    if kept.toolchain == past.toolchain:
        told = unexplained(grown(past.counts, kept.counts), kept.reasons, past.reasons)
        failed |= fail(told, past.counts, kept.counts, why)
    missing = sorted(counts.keys() - kept.counts.keys()) + sorted(kept.counts.keys() - cases_of(program).keys())
    if missing:
        print(f"NOT THE SAME CASES in {FIGURES}: {' '.join(missing)}; run benches/instructions.py --write")
    for case in grown(counts, kept.counts):
        print(f"shrunk {case}: --write, so that it stays")
    return failed or bool(missing)


def write(wanted, program):
    kept, here, counts = Figures.parse((ROOT / FIGURES).read_text()), toolchain(), count(program, wanted)
    tell(counts, kept.counts)
    if here != kept.toolchain and wanted:
        sys.exit("another toolchain: write all cases, or none")
    written = Figures(here, {}, kept.reasons)
    for case in cases_of(program):
        old, new = kept.counts.get(case), counts.get(case, kept.counts.get(case))
        is_noise = old and here == kept.toolchain and abs(new / old - 1) < WRITTEN_MIN
        if new is not None:
            written.counts[case] = old if is_noise else new
        if old and written.counts[case] < old:
            written.reasons.pop(case, None)
    (ROOT / FIGURES).write_text(written.text())
    for case in grown(kept.counts, written.counts):
        print(f"{case} has grown: say why behind its figure in {FIGURES}")


def functions(program, wanted, folder):
    """Where the instructions go, by function, each without those that it calls."""
    for case in wanted:
        out = callgrind(program, case, folder)
        print(f"{case}: of {cases_of(program)[case]} operations")
        print(output("callgrind_annotate", "--threshold=95", "--show-percs=yes", out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("cases", nargs="*", metavar="CASE")
    asked = parser.parse_args()
    check_itself()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not there: install the package of that name")
    with tempfile.TemporaryDirectory() as folder:
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
        program = build(ROOT, target, f"{folder}/now")
        unknown = set(asked.cases) - cases_of(program).keys()
        if unknown:
            sys.exit(f"no such case: {' '.join(unknown)}; there are {' '.join(cases_of(program))}")
        if asked.functions:
            return functions(program, asked.cases or ["route"], folder)
        if asked.write:
            return write(asked.cases, program)
        if asked.against:
            before, counts = count_commit(asked.against, asked.cases, folder), count(program, asked.cases)
            if not before:
                sys.exit(f"NOTHING IS COMPARED: {asked.against} has no small benches")
            tell(counts, before)
            return fail(grown(before, counts), before, counts, f"against {asked.against}")
        return compare(asked.cases, program, folder)


if __name__ == "__main__":
    sys.exit(main())
