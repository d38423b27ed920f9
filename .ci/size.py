#!/usr/bin/env python3
"""Prints a binary's stripped size and the parts it is made of, and fails past a bound.

    .ci/size.py UNSTRIPPED_BINARY BYTES_MAX

The parts are its symbols by crate, as `nm` demangles them; what has no symbol (constants, tables for unwinding, the C
library's own) is the rest of its section. They explain the size, they do not add up to it to the byte.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile


def crate(symbol):
    """The crate whose code a demangled symbol is: the first path in it."""
    symbol = symbol.lstrip("<&*([ ")
    symbol = re.sub(r"^(mut|dyn|const) ", "", symbol)
    found = re.match(r"([A-Za-z_][A-Za-z0-9_]*)(\[[0-9a-f]+\])?::", symbol)
    if found:
        return found[1]
    return "ring (C)" if "ring_core" in symbol else "C and others"


def main():
    binary, bytes_max = sys.argv[1], int(sys.argv[2])
    parts = collections.Counter()
    for line in subprocess.run(["nm", "-C", "-S", binary], capture_output=True, text=True, check=True).stdout.splitlines():
        columns = line.split(" ", 3)
        # A symbol without a size has an empty column there.
        if len(columns) == 4 and columns[1] and columns[2] in "tTrRdDwWvV":
            parts[crate(columns[3])] += int(columns[1], 16)
    sections = subprocess.run(["size", "-A", "-d", binary], capture_output=True, text=True, check=True).stdout.splitlines()
    for line in sections:
        columns = line.split()
        if len(columns) == 3 and columns[0] in (".text", ".rodata", ".eh_frame", ".data.rel.ro", ".rela.dyn"):
            print(f"size/section name={columns[0]} bytes={columns[1]}")
    for name, size in parts.most_common(14):
        print(f"size/part name={name.replace(' ', '_')} bytes={size}")
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-s", "-o", stripped.name, binary], check=True)
        total = os.path.getsize(stripped.name)
    print(f"size/stripped bytes={total} max={bytes_max}")
    sys.exit(0 if total <= bytes_max else f"the stripped binary is larger than {bytes_max} bytes")


main()
