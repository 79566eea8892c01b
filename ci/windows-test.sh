#!/usr/bin/env bash
# Lints for Windows, builds the tests for it, and runs them under Wine.
# usage: ci/windows-test.sh [arguments of cargo test]
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
cargo test --no-run --all-features --target $target "$@"

# All programs of a prefix share one Windows: one job at a time, and nothing left running.
exec 9>"$tools/wine.lock"
flock 9
trap 'wineserver --kill || true' EXIT
cargo test --all-features --target $target "$@" 9>&-
