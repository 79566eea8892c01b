#!/usr/bin/env bash
# Runs the tests under ThreadSanitizer, the standard library included, which keeps it from false alarms.
# usage: ci/tsan-test.sh [arguments of cargo test, instead of the tests whose threads share something]
set -euo pipefail
. ci/tools.sh
ci/install.sh threads
use_cross_toolchain
fewer_random_cases
version=$(llvm_version)
llvm=/usr/lib/llvm-$version
runtime=$llvm/lib/clang/$version/lib/linux/libclang_rt.tsan-x86_64.a
export CARGO_TARGET_DIR="$CARGO_TARGET_DIR/threads"
export RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt
    -Clink-arg=-fuse-ld=lld -Clink-arg=-B$llvm/bin
    -Clink-arg=-Wl,--whole-archive,$runtime,--no-whole-archive -Clink-arg=-lm -Clink-arg=-lc"
# Those in which threads meet. Others fork or kill processes, measure memory, or are one thread and slow (conformance).
if [ $# -eq 0 ]; then
    set -- --lib --test calls --test endpoints --test events --test lifecycle --test pushes --test sessions
fi
cargo test --all-features --target x86_64-unknown-linux-gnu "$@"
