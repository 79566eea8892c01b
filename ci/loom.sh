#!/usr/bin/env bash
# Tries the orders in which threads of a client can meet at its bell and hand over the duty to drive, by the model
# checker loom. Each test says how often a thread may be interrupted in it.
# usage: ci/loom.sh [arguments of the tests]
set -euo pipefail
. ci/tools.sh
ci/install.sh basics
# Apart from other builds: everything is compiled with another flag.
export CARGO_TARGET_DIR="$target_dir/loom" RUSTFLAGS="--cfg loom -D warnings" CARGO_PROFILE_TEST_OPT_LEVEL=2
cargo test --no-default-features --lib loom_tests "$@"
