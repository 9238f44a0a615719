#!/usr/bin/env bash
# Every scenario of `turnout demo`, several times: a line each, with what each change cost. Ends with 1 if one has not passed.
#   bench/scenarios.sh                          three rounds of all of them: a quarter of an hour
#   ROUNDS=10 bench/scenarios.sh cluster-dual-wan dual-wan
# Wants root or user namespaces, an idle machine, and dnsmasq for `cluster-mixed`. Build first: cargo build --release.
set -euo pipefail
cd "$(dirname "$0")/.."
turnout="${TURNOUT:-${CARGO_TARGET_DIR:-target}/release/turnout}"
rounds="${ROUNDS:-3}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ ! -x "$turnout" ]; then
    echo "scenarios: $turnout is missing: cargo build --release" >&2
    exit 1
fi
if [ $# -eq 0 ]; then
    # Whoever asks for one that is not there is told of all that are.
    mapfile -t names < <("$turnout" demo --scenario '?' 2>&1 | sed -n 's/.*there are: //p' | tr -d ' ' | tr ',' '\n')
    [ "${#names[@]}" -gt 0 ] || { echo "scenarios: $turnout names none" >&2; exit 1; }
    set -- "${names[@]}"
fi

failed=0
printf '%-24s %5s %-7s %s\n' scenario round result 'what happened: outage, packets lost'
for ((round = 1; round <= rounds; round++)); do
    for name in "$@"; do
        result=passed
        "$turnout" demo --scenario "$name" --seconds "${SECONDS_EACH:-20}" --json >"$log" 2>"$log.err" || result=FAILED
        costs=$(tail -1 "$log" | python3 -c '
import json, sys
try:
    told = json.load(sys.stdin)
    print(", ".join("{cause} {outage_ms} ms {lost}".format(**change) for change in told["failovers"]))
    for complaint in told["complaints"]:
        print("    ! " + complaint)
except ValueError:
    print("no result")
')
        printf '%-24s %5s %-7s %s\n' "$name" "$round" "$result" "$costs"
        if [ "$result" != passed ]; then
            failed=$((failed + 1))
            tail -5 "$log.err" | sed 's/^/    /'
        fi
        rm -f "$log.err"
    done
done
if [ "$failed" -gt 0 ]; then
    printf '%s of %s did not pass\n' "$failed" "$((rounds * $#))"
    exit 1
fi
printf 'all %s passed\n' "$((rounds * $#))"
