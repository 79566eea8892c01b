#!/usr/bin/env bash
# Runs the benchmarks in their quick modes, to see that they work: their numbers mean nothing here. Then counts the
# instructions of the pure parts, which may not grow.
set -euo pipefail
ci/install.sh basics
cargo bench --all-features --bench ipc -- --quick
cargo bench --all-features --bench recording -- --quick
cargo bench --all-features --bench agent -- --quick
cargo bench --all-features --bench instructions -- --check
