#!/usr/bin/env bash
# Measures everything that docs/performance.md quotes, in half an hour, and writes its tables and plots again.
# Linux, two cores or more, and nothing else running.
#
# usage: benches/figures.sh [FOLDER]    where the single runs are kept [target/figures]
#
# ROUNDS (3) and SECONDS_EACH (0.2) say how often and how long each case is run. MEASURE is a command to put before each
# piece of at most two minutes: one that waits until the machine is quiet, say.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-target/figures}
target=${CARGO_TARGET_DIR:-target}
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-0.2}

if [[ ${1:-} = --help ]]; then
    sed -n '2,/^set /{s/^# \{0,1\}//p}' "$0"
    exit
fi
# executable NAME: builds a benchmark, and says where it is.
executable() {
    cargo bench --all-features --bench "$1" --no-run --message-format json |
        sed -n 's/.*"name":"'"$1"'".*"executable":"\([^"]*\)".*/\1/p'
}
# shellcheck disable=SC2034 # named by the loop at the end
ipc=$(executable ipc) recording=$(executable recording) agent=$(executable agent)
cargo build --release --manifest-path benches/compare/Cargo.toml --target-dir "$target/compare"
compare=$target/compare/release/wayside-compare

mkdir -p "$folder"
rm -f "$folder"/{compare,ipc,parked}.{jsonl,md}

# measure NAME COMMAND [OPTION...]: adds to NAME.jsonl and NAME.md.
measure() {
    local name=$1
    shift
    # shellcheck disable=SC2086 # MEASURE may be several words, or none
    ${MEASURE:-} "$@" --rounds "$rounds" --seconds "$seconds" --json "$folder/$name.jsonl" >>"$folder/$name.md"
}

measure compare "$compare" --workload calls --pinning two
measure compare "$compare" --workload calls --pinning one --len 64
measure compare "$compare" --workload events --pinning two
measure compare "$compare" --workload fan-in --pinning two --clients 8,512
# The system gives each of so many threads a turn in some hundred milliseconds: who gets how much shows in seconds.
seconds=1 measure compare "$compare" --workload fan-in --pinning two --clients 64
measure compare "$compare" --workload bursts --pinning two
for way in uds fifo tcp mqueue; do
    measure ipc "$ipc" --bench --way "$way" --workload calls,events --pinning two,one \
        --mechanism wayside,raw,raw-batch,raw-spin,raw-typed
    measure ipc "$ipc" --bench --way "$way" --workload bursts --pinning two
    rounds=2 seconds=2 measure ipc "$ipc" --bench --way "$way" --workload fan-in --mechanism wayside,raw-batch --pinning two
    rounds=3 seconds=0.4 measure ipc "$ipc" --bench --way "$way" --workload idle --pinning free
    rounds=9 seconds=0.3 WAYSIDE_SPIN=off measure parked "$ipc" --bench --way "$way" --workload calls --pinning two --len 64,1024 \
        --mechanism wayside,raw,raw-poll
done
# The tables of the aggregator are copied by hand. Both fail where a goal is missed by far.
# shellcheck disable=SC2086
for name in recording agent; do
    ${MEASURE:-} "${!name}" --bench | tee "$folder/$name.md"
done
benches/figures.py "$folder"/{compare,ipc,parked}.jsonl
