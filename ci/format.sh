#!/usr/bin/env bash
# Checks the layout of all Rust source, that of the crates apart (fuzz and the like) too.
set -euo pipefail
git ls-files '*Cargo.toml' | while read -r manifest; do
    cargo fmt --manifest-path "$manifest" --check
done
