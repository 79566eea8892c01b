#!/usr/bin/env bash
# Runs the comparison with other libraries, benches/compare: with its quick mode to see that it works, or to measure.
# It compiles two hundred packages and libzmq, which is too much for every run of the checks.
#
# usage: ci/compare.sh [OPTION...]      as in `ci/compare.sh --help`; without any: --quick
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    set -- --quick
fi
cargo run --release --locked --manifest-path benches/compare/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/compare" -- "$@"
