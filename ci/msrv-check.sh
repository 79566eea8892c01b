#!/usr/bin/env bash
# Checks that the oldest Rust that Cargo.toml promises compiles the library, its tests and its examples.
# usage: ci/msrv-check.sh [arguments of cargo check]
set -euo pipefail
. ci/tools.sh
ci/install.sh msrv
if ! grep -q '^rust-version = "1.85"$' Cargo.toml; then
    echo "Cargo.toml's rust-version isn't the 1.85 that this checks with." >&2
    exit 1
fi
export RUSTC="$tools/rust-1.85/rustc" CARGO_TARGET_DIR="$target_dir/msrv"
"$RUSTC" --version
# Debian's cargo, which a rustup toolchain doesn't override.
/usr/bin/cargo check --locked --all-targets --all-features "$@"
/usr/bin/cargo check --locked --lib --no-default-features "$@"
