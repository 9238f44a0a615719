#!/usr/bin/env bash
# Writes bench/RESULTS.md anew: every table of `turnout bench nat`, `stalls` and `handover` on this machine. Some 12 minutes, 8 GB.
# Its last part, from "From a failure to the other WAN" on, is of `bench/detection.sh` and `turnout bench failover` and is kept.
# `SIZES=1000,64512 bench/results.sh` measures fewer; build first: cargo build --release.
set -euo pipefail
cd "$(dirname "$0")/.."
turnout="${TURNOUT:-${CARGO_TARGET_DIR:-target}/release/turnout}"
sizes="${SIZES:-1000,10000,64512,258048,1032192,4128768,16515072}"
few="${FEW:-1000,64512,1032192}"
packets="${PACKETS:-4M}"
out="${OUT:-bench/RESULTS.md}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A table: title, then options of `bench nat`. One row a line of JSON.
table() {
    local title=$1
    shift
    printf '\n## %s\n\n`turnout bench nat %s`\n\n' "$title" "$*" >>"$work/md"
    "$turnout" bench nat "$@" --json >"$work/rows"
    python3 - "$work/rows" >>"$work/md" <<'PY'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
loop = "reference" in rows[0]
head = ["sessions", "cycles p50", "mean", "p99"] + (["loop p50", "ratio p50", "ratio mean"] if loop else [])
head += ["Mpps", "new sessions/s", "cycles each"]
print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
for r in rows:
    c, w = r["cycles_per_packet"], r["workers"]
    cells = [f"{r['sessions']:,}".replace(",", " "), c["p50"], c["mean"], c["p99"]]
    if loop:
        cells += [r["reference"]["p50"], r["ratio"]["p50"], r["ratio"]["mean"]]
    each = r["tsc_hz"] * w / r["setup_per_second"]
    cells += [r["mpps"], f"{r['setup_per_second'] / 1e6:.2f} M", f"{each:.0f}"]
    print("| " + " | ".join(str(x) for x in cells) + " |")
PY
}

{
    printf '# Results\n\nMade by `bench/results.sh`; what the columns mean: [README.md](README.md). Ratios are to the reference loop of the\nsame process; cycles do not survive a change of machine, and where misses bound the path ratios do not either (docs/performance.md).\nWhere a core has a boost, which comes and goes, its clock is not that of the TSC: what the loop took tells with what clock a row was taken.\n\n'
    printf -- '- %s, %s cores, %s\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -1)" "$(nproc)" "$(date +%F)"
    printf -- '- Linux %s, huge pages: %s reserved, transparent: %s\n' "$(uname -r)" \
        "$(cat /proc/sys/vm/nr_hugepages)" "$(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled)"
    printf -- '- libdpdk %s, %s, load when it began: %s\n' "$(pkg-config --modversion libdpdk)" "$(rustc --version | cut -d' ' -f1,2)" \
        "$(cut -d' ' -f1 /proc/loadavg)"
} >"$work/md"
table "Up, shuffled" --sessions "$sizes" --direction up --packets "$packets" --compare
table "Down, shuffled" --sessions "$sizes" --direction down --packets "$packets" --compare
table "Both, shuffled" --sessions "$few" --direction both --packets "$packets" --compare
table "Up, in the order of creation" --sessions "$few" --direction up --order created --packets "$packets" --compare
table "Both, IMIX" --sessions "$few" --direction both --bytes imix --packets "$packets" --compare
table "With a driver's receive and send" --sessions "$few" --direction both --port net_ring --packets "$packets"
if [ "$(nproc)" -ge 2 ]; then
    table "Up, two workers side by side" --sessions "$few" --workers 2 --direction up --packets "$packets" --compare
    table "Down, two workers side by side" --sessions "$few" --workers 2 --direction down --packets "$packets" --compare
    printf '\n## A packet that another worker owns\n\n`turnout bench handover --direction both`\n\n```\n' >>"$work/md"
    "$turnout" bench handover --direction both >>"$work/md"
    printf '```\n' >>"$work/md"
fi
printf '\n## The longest turn\n\n`turnout bench stalls --sessions 1M --rounds 8`\n\n```\n' >>"$work/md"
"$turnout" bench stalls --sessions 1M --rounds 8 >>"$work/md"
printf '```\n' >>"$work/md"
# What other commands measured stays: it begins at this title.
sed -n '/^## From a failure to the other WAN/,$p' bench/RESULTS.md | sed '1s/^/\n/' >>"$work/md"
cp "$work/md" "$out"
echo "$out is written"
