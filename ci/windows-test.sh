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
trap 'wineserver --kill >"$said" 2>&1 || true; rm -f "$said"' EXIT
# Debian's Wine lets its server go with the last program, and whatever starts in that moment is lost: so this one stays.
mkdir -p "$WINEPREFIX"
wineserver --persistent 9>&-
# Windows' own services run before the tests do.
timeout --kill-after=5 "$limit" wineboot 9>&-
run() {
    local status=0
    printf -- '-- %s\n' "$(basename "$1") ${*:2}"
    timeout --kill-after=5 "$limit" wine "$@" </dev/null >"$said" 2>&1 9>&- || status=$?
    cat "$said"
    return $status
}
# Ends everything if it fails three times. Once may be Wine's fault: CONTRIBUTING.md names what comes and goes. What
# failed is said at the end, too.
failures=''
must_run() {
    local status name
    name="$(basename "$1") ${*:2}"
    for time in first second third; do
        status=0
        run "$@" || status=$?
        if [ "$status" -eq 0 ]; then
            return
        fi
        failures+="$name failed the $time time (exit code $status):"$'\n'
        if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
            failures+="It took more than $limit s. Tests that run for over a minute are named above."$'\n'
        fi
        failures+=$({ grep -A 1 'panicked at\|wine client error\|FAILED' "$said" || tail -n 3 "$said"; } | head -n 12 || true)$'\n'
    done
    printf '%s' "$failures"
    exit 1
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
printf '%s' "$failures"
