#!/usr/bin/env bash
# How long each kind of failure takes to be found and left: medians of ten, as a table for bench/RESULTS.md. Takes five
# minutes; wants root (network namespaces), an idle machine, and frr for the BFD row. A release build. Fails where a median is above its goal.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
TURNOUT_LONG=1 cargo test --locked --release --test netns_detection -- --nocapture >"$log" 2>&1 || {
    tail -40 "$log" >&2
    exit 1
}
grep -E '^(\||skipped)' "$log"
