#!/usr/bin/env bash
# Lints for Windows, builds the tests and the examples for it, and runs them under Wine.
# usage: ci/windows-test.sh [arguments of cargo test, instead of the examples and the tests that Wine can be trusted with]
#
# Wine isn't Windows: CONTRIBUTING.md says what it can't show.
set -euo pipefail
. ci/tools.sh
ci/install.sh basics windows
use_cross_toolchain
fewer_random_cases
target=x86_64-pc-windows-gnu
export WINEPREFIX="$tools/wine" WINEDEBUG=-all

# What one program of tests may take under Wine, in seconds.
limit=${WAYSIDE_WINE_LIMIT:-300}

# What only one feature uses is used where all are in.
for feature in '' uds tcp fifo mqueue settings aggregator http; do
    cargo clippy --lib --no-default-features --features "$feature" --target $target -- -D warnings
done
cargo clippy --all-targets --all-features --target $target -- -D warnings
# CONTRIBUTING.md says which are left out, and why.
examples=()
if [ $# -eq 0 ]; then
    mapfile -t examples < <(cargo build --examples --all-features --target $target --message-format=json-render-diagnostics |
        jq -r 'select(.reason == "compiler-artifact" and .target.kind == ["example"] and .executable) | .executable')
    set -- --lib
    for test in calls conformance endpoints ends events full hostile lifecycle own_loop pipes processes pushes readme \
        rolling_switch room sessions settings system_calls tcp_keys wire_format; do
        set -- "$@" --test "$test"
    done
fi
programs=$(cargo test --no-run --all-features --target $target --message-format=json-render-diagnostics "$@" |
    jq -r 'select(.reason == "compiler-artifact" and .profile.test and .executable) | .executable')

# All programs of a prefix share one Windows: one job at a time, and nothing left running.
exec 9>"$tools/wine.lock"
flock 9
said=$(mktemp)
trap 'wineserver --kill || true; rm -f "$said"' EXIT
# Windows' own services run before the tests do.
timeout --kill-after=5 "$limit" wineboot 9>&-
run() {
    local status=0
    printf -- '-- %s\n' "$(basename "$1") ${*:2}"
    timeout --kill-after=5 "$limit" wine "$@" </dev/null >"$said" 2>&1 9>&- || status=$?
    cat "$said"
    return $status
}
# Ends everything if it fails.
must_run() {
    local status=0
    run "$@" || status=$?
    # Wine can say that an operation is done before its outcome is written, which Windows can't: the pipe is lost then.
    # And the server that all its programs talk to can go away: nothing of ours ran any more then.
    for _ in 1 2; do
        if [ "$status" -ne 0 ] && grep -q 'code: 996,\|os error 996\|^wine client error' "$said"; then
            echo "-- Wine gave out an operation that it had not finished (error 996), or lost its server: once more"
            status=0
            run "$@" || status=$?
        fi
    done
    if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
        echo "$(basename "$1") took more than $limit s. Tests that run for over a minute are named above." >&2
    fi
    if [ "$status" -ne 0 ]; then
        exit 1
    fi
}
for program in $programs; do
    must_run "$program"
done
# Their processes are several, as those of applications are.
for program in "${examples[@]}"; do
    for transport in fifo tcp; do
        must_run "$program" --transport "$transport"
    done
done
