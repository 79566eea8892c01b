#!/usr/bin/env bash
# Lints for Windows, builds the tests for it, and runs them under Wine.
# usage: ci/windows-test.sh [arguments of cargo test, instead of the tests that Wine can be trusted with]
#
# Wine isn't Windows: CONTRIBUTING.md says what it can't show.
set -euo pipefail
. ci/tools.sh
ci/install.sh basics windows
use_cross_toolchain
fewer_random_cases
target=x86_64-pc-windows-gnu
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine WINEPREFIX="$tools/wine" WINEDEBUG=-all

cargo clippy --all-targets --all-features --target $target -- -D warnings
# The others are about Unix, or hang on what Wine does its own way with killed processes and many connections.
if [ $# -eq 0 ]; then
    set -- --lib --test calls --test conformance --test sessions --test settings --test tcp_keys
fi
cargo test --no-run --all-features --target $target "$@"

# All programs of a prefix share one Windows: one job at a time, and nothing left running.
exec 9>"$tools/wine.lock"
flock 9
trap 'wineserver --kill || true' EXIT
cargo test --all-features --target $target "$@" 9>&-
