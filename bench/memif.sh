#!/usr/bin/env bash
# Two processes over net_memif, a core each: a generator, and what is measured: turnout, and by turns with it DPDK's
# testpmd, which only forwards (io). Prints the medians, and turnout's share of what testpmd does.
#   bench/memif.sh                              5 rounds of 3 s a direction: 3 minutes
#   ROUNDS=9 SECONDS_EACH=5 SESSIONS=1032192 bench/memif.sh
# bench/memif.md says what each setting does and how to read the table.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-3}
sessions=${SESSIONS:-64512}
bytes=${BYTES:-60}
directions=${DIRECTIONS:-up,down,both}
ring=${RING:-10}                 # log2 of a ring's slots
zero_copy=${ZERO_COPY:-yes}      # of the client; the server always copies
copies=${COPIES:-router}         # who is the server: router, the side under test, or generator
bench_core=${GENERATOR_CORE:-0}
router_core=${ROUTER_CORE:-1}
manager_core=${MANAGER_CORE:-$bench_core}
hosts=${HOSTS:-routed}           # routed: behind one LAN router, as in CSIT; attached: each a neighbour of its own
turnout=${TURNOUT:-target/release/turnout}

# The generator opens sessions with up to 128 frames under way: a shorter ring would lose half of them, again and again.
if ! [ "$ring" -ge 7 ] 2>/dev/null || [ "$ring" -gt 14 ]; then
    echo "memif: RING is $ring, must be 7 to 14: the log2 of a ring's slots" >&2
    exit 2
fi
command -v dpdk-testpmd >/dev/null || {
    echo "memif: dpdk-testpmd is missing: apt-get install dpdk-dev (Debian 12) or dpdk (Debian 13)" >&2
    exit 1
}
command -v python3 >/dev/null || {
    echo "memif: python3 is missing: apt-get install python3" >&2
    exit 1
}
[ -x "$turnout" ] || cargo build --release
if [ "$(nproc)" -lt 2 ]; then
    echo "memif: two cores are needed, one for each process" >&2
    exit 1
fi
# Others on the machine yield, where that is allowed: niceness counts within a session only (sched_autogroup), so each
# process gets a session of its own, and the session its niceness.
first=(setsid sh -c '{ echo -20 >/proc/self/autogroup; } 2>/dev/null; exec nice -n -20 "$@"' sh)
nice -n -20 true 2>/dev/null || first=()

dir=$(mktemp -d)
pid=
generator=
end() { # a process of ours
    kill -TERM "$1" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.05
    done
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}
stop() {
    [ -z "$pid" ] || end "$pid"
    pid=
    rm -f "$dir"/*.sock
}
trap '[ -z "$generator" ] || end "$generator"; stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

memif() { # number, role
    echo "net_memif$1,role=$2,id=$1,socket=$dir/$1.sock,socket-abstract=no"
}
races=$(tr ',' '\n' <<<"$directions" | wc -l)
client="rsize=$ring,zero-copy=$zero_copy"
case "$copies" in
router) router_role=server generator_role="client,$client" eal= segments=() ;;
generator) router_role="client,$client" generator_role=server eal=", eal: [--single-file-segments]" segments=(--single-file-segments) ;;
*)
    echo "memif: COPIES is router or generator" >&2
    exit 2
    ;;
esac

if [ "$hosts" = attached ]; then
    lan_router=10.0.0.1
    lan="[10.0.0.1/8]"
    routes=
else
    lan_router=192.168.10.1
    lan="[192.168.10.1/24]"
    routes="routes: [{ to: 10.0.0.0/8, via: 192.168.10.254 }]"
fi
cat >"$dir/profile.yaml" <<YAML
version: 1
name: memif
engine: { workers: [$router_core], manager: $manager_core, idle: poll, sessions: $((sessions + sessions / 8 + 1024))$eal }
interfaces:
  lan:  { port: "$(memif 0 "$router_role")", addresses: $lan }
  isp1: { port: "$(memif 1 "$router_role")", addresses: [203.0.113.2/29], gateway: 203.0.113.1 }
$routes
wans: [isp1]
management: { socket: $dir/turnout.ctl, journal: $dir/journal }
${PROFILE_EXTRA:-}
YAML
"$turnout" check "$dir/profile.yaml" >/dev/null

start_turnout() {
    "${first[@]}" "$turnout" run "$dir/profile.yaml" >"$dir/out" 2>&1 &
    pid=$!
}

start_testpmd() {
    # It ends when its stdin does: this one stays open.
    [ -p "$dir/stdin" ] || mkfifo "$dir/stdin"
    "${first[@]}" dpdk-testpmd -l "$manager_core,$router_core" --main-lcore "$manager_core" --no-huge --no-shconf \
        --no-telemetry --no-pci -m 128 --file-prefix "memif-$$" "${segments[@]}" \
        --vdev "$(memif 0 "$router_role")" --vdev "$(memif 1 "$router_role")" -- \
        --forward-mode=io --nb-cores=1 --auto-start --rxd=1024 --txd=1024 --burst=32 --total-num-mbufs=8192 \
        --no-lsc-interrupt <>"$dir/stdin" >"$dir/out" 2>&1 &
    pid=$!
}

start_generator() { # further arguments
    "${first[@]}" "$turnout" bench generator --json --core "$bench_core" --sessions "$sessions" --bytes "$bytes" \
        --seconds "$seconds" --direction "$directions" --lan-router "$lan_router" --linger 60 \
        --lan "$(memif 0 "$generator_role")" --wan "$(memif 1 "$generator_role")" "$@" >"$dir/json" &
    generator=$!
}

listens() { # a server of ours
    for _ in $(seq 100); do
        [ -S "$dir/0.sock" ] && [ -S "$dir/1.sock" ] && return
        kill -0 "$1" 2>/dev/null || return 0
        sleep 0.1
    done
}

race() { # name, further arguments of the generator
    local name=$1
    shift
    : >"$dir/json"
    # A client starts once its server listens.
    if [ "$copies" = router ]; then
        "start_$name"
        listens "$pid"
        start_generator "$@"
    else
        start_generator "$@"
        listens "$generator"
        "start_$name"
    fi
    # It stays until the other side is gone: DPDK unmaps a memif whose peer has left, under a worker that reads it.
    while kill -0 "$generator" 2>/dev/null && [ "$(wc -l <"$dir/json")" -lt "$races" ]; do
        sleep 0.1
    done
    if [ -n "${KEEP:-}" ] && [ "$name" = turnout ]; then
        "$turnout" counters --socket "$dir/turnout.ctl" >"$KEEP.counters" || true
        "$turnout" events --socket "$dir/turnout.ctl" >>"$KEEP.counters" || true
    fi
    stop
    if ! wait "$generator" || [ "$(wc -l <"$dir/json")" -lt "$races" ]; then
        generator=
        echo "memif: the run with $name failed; it said:" >&2
        tail -n 20 "$dir/out" >&2
        exit 1
    fi
    generator=
    sed "s/^/$name /" "$dir/json" >>"$dir/all"
}

for round in $(seq "$rounds"); do
    [ -t 2 ] && printf '\rround %s of %s ' "$round" "$rounds" >&2
    race turnout
    race testpmd --plain
done
[ -t 2 ] && printf '\r%*s\r' 30 '' >&2
[ -n "${KEEP:-}" ] && cp "$dir/all" "$KEEP"

echo "net_memif, $sessions sessions ($hosts hosts), $bytes bytes, $rounds rounds of $seconds s, rings of $((1 << ring))," \
    "copied by the $copies; router on core $router_core, generator on $bench_core, manager on $manager_core"
python3 - "$dir/all" <<'PYTHON'
import json, statistics, sys

rows = {}
for line in open(sys.argv[1]):
    name, text = line.split(" ", 1)
    row = json.loads(text)
    rows.setdefault((row["direction"], name), []).append(row)

def median(key, field):
    return statistics.median(row[field] for row in rows[key])

def spread(key):
    all = [row["mpps"] for row in rows[key]]
    return f"{min(all):.2f}-{max(all):.2f}"

head = ("way", "under test", "sent", "back", "min-max", "lost %", "generator busy", "its ceiling", "limited by")
print(("{:<5} {:<10} {:>7} {:>7} {:>12} {:>7} {:>14} {:>11}  {}").format(*head))
for direction in ("up", "down", "both"):
    for name in ("testpmd", "turnout"):
        key = (direction, name)
        if key not in rows:
            continue
        sent, back = median(key, "mpps_sent"), median(key, "mpps")
        busy = median(key, "generator_busy")
        lost = max(0.0, (1 - back / sent) * 100) if sent else 0.0
        limit = "generator" if busy > 0.95 else name
        print("{:<5} {:<10} {:>7.2f} {:>7.2f} {:>12} {:>7.2f} {:>13.0f}% {:>11.1f}  {}".format(
            direction, name, sent, back, spread(key), lost, busy * 100, median(key, "generator_ceiling_mpps"), limit))
    if (direction, "testpmd") in rows:
        pairs = zip(rows[direction, "turnout"], rows[direction, "testpmd"])
        ratios = [a["mpps"] / b["mpps"] for a, b in pairs]
        print("{:<5} turnout / testpmd: {:.2f}  (rounds {:.2f} to {:.2f})".format(
            direction, statistics.median(ratios), min(ratios), max(ratios)))
PYTHON
