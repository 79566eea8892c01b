#!/usr/bin/env bash
# Runs the comparison with other libraries, benches/compare: lints it and runs its quick mode to see that it works, or
# measures.
# It compiles two hundred packages and libzmq, which is too much for every run of the checks.
#
# usage: ci/compare.sh [OPTION...]      as in `ci/compare.sh --help`; without any: --quick
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    cargo clippy --release --locked --manifest-path benches/compare/Cargo.toml \
        --target-dir "${CARGO_TARGET_DIR:-target}/compare" -- -D warnings
    set -- --quick
fi
cargo run --release --locked --manifest-path benches/compare/Cargo.toml \
    --target-dir "${CARGO_TARGET_DIR:-target}/compare" -- "$@"
