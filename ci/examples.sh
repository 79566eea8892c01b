#!/usr/bin/env bash
# Runs every example to its end: once without arguments, then over each transport that its --help offers,
# and with the agent killed half-way where it offers that. First the README's own command, as it stands there.
#
# An example demonstrates itself: it starts the peers it needs, shows its point, and ends with success.
# usage: ci/examples.sh [NAME...]
set -euo pipefail
. ci/tools.sh
ci/install.sh basics
limit=60
transports=(uds fifo mqueue tcp)

programs=$(cargo build --examples --all-features --message-format=json-render-diagnostics |
    jq -r 'select(.reason == "compiler-artifact" and .target.kind == ["example"] and .executable) | .executable')
if [ -z "$programs" ]; then
    echo "There are no examples yet."
    exit
fi

run() {
    local status=0
    printf -- '-- %s\n' "$(basename "$1") ${*:2}"
    timeout --kill-after=5 "$limit" "$@" </dev/null || status=$?
    if [ "$status" -ne 0 ]; then
        echo "The example $(basename "$1") failed with exit code $status (124: it took more than $limit s)." >&2
        exit 1
    fi
}

if [ $# -eq 0 ] && [ -e README.md ]; then
    command=$(sed -n 's/^\(cargo run --example [^#]*[^ #]\) *#.*/\1/p' README.md | head -n 1)
    if [ -z "$command" ]; then
        echo "README.md doesn't say how to run an example." >&2
        exit 1
    fi
    # Compiling takes its own time.
    ${command/#cargo run/cargo build}
    # shellcheck disable=SC2086 # It is a command and its arguments.
    run $command
fi

for program in $programs; do
    if [ $# -gt 0 ] && [[ " $* " != *" $(basename "$program") "* ]]; then
        continue
    fi
    help=$(run "$program" --help)
    run "$program"
    if [[ $help == *--transport* ]]; then
        for transport in "${transports[@]}"; do
            run "$program" --transport "$transport"
            if [[ $help == *--kill-agent* ]]; then
                run "$program" --transport "$transport" --kill-agent
            fi
        done
    fi
done
