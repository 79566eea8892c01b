#!/usr/bin/env bash
# Runs the benchmark harness in its quick mode, to see that it works. Its numbers mean nothing here.
set -euo pipefail
if [ ! -e benches/ipc.rs ] && [ ! -e benches/ipc/main.rs ]; then
    echo "Skipped: there is no benches/ipc yet."
    exit
fi
cargo bench --all-features --bench ipc -- --quick
