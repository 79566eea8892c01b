#!/usr/bin/env bash
# Lints for macOS and FreeBSD and links tests, which also finds C functions that these systems lack. Runs nothing.
# usage: ci/macos-check.sh [TARGET...]
set -euo pipefail
. ci/tools.sh
ci/install.sh macos
use_cross_toolchain
if [ $# -eq 0 ]; then
    set -- aarch64-apple-darwin x86_64-unknown-freebsd
fi
# The tool that would strip a program isn't there.
export CARGO_PROFILE_DEV_STRIP=none
for target; do
    printf -- '-- %s\n' "$target"
    cargo-zigbuild clippy --all-targets --all-features --target "$target" -- -D warnings
    # All of the library is in the one, what the suite for backends asks of the system in the other. Other tests
    # are only compiled, by the lints.
    cargo-zigbuild test --no-run --all-features --target "$target" --lib --test conformance
done
