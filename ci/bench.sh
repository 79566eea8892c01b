#!/usr/bin/env bash
# Runs the benchmark harness in its quick mode, to see that it works: its numbers mean nothing here. Then counts the
# instructions of the pure parts, which may not grow.
set -euo pipefail
cargo bench --all-features --bench ipc -- --quick
cargo bench --all-features --bench instructions -- --check
