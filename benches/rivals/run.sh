#!/usr/bin/env bash
# Stonechat beside Prosody, ejabberd and jabberd2, all from Debian's packages, on this machine, in one table.
#
#   benches/rivals/run.sh [--sessions 10000] [--seconds 5] [--rounds 5] [--only SERVER] [--minutes N] [--out FILE] [--picture SVG] [--into FILE…]
#
# Installs the packages by name, without starting their services; serves on loopback, on free ports, from scratch folders.
set -euo pipefail
cd "$(dirname "$0")/../.."

missing=()
for package in prosody ejabberd jabberd2 openssl python3; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
    # Debian starts what it installs, on the standard ports, unless this file forbids it.
    policy=/usr/sbin/policy-rc.d made=false
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        made=true
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    if "$made"; then rm "$policy"; fi
fi

load=$(cargo bench --bench load --no-run --message-format=json-render-diagnostics |
    python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable") and built["target"]["name"] == "load":
        print(built["executable"])')
exec python3 benches/rivals/compare.py --load "$load" "$@"
