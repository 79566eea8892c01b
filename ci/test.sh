#!/usr/bin/env bash
# Runs the tests by the very command that the README gives.
set -euo pipefail
command='cargo test --all-features'
if [ -e README.md ] && ! grep -qF "$command" README.md; then
    echo "README.md doesn't give this test command: $command" >&2
    exit 1
fi
$command
