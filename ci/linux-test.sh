#!/usr/bin/env bash
# Runs the tests on other processors, with the C library musl: 64-bit ARM under QEMU, and 32-bit x86.
# usage: ci/linux-test.sh [TARGET...]      (s390x-unknown-linux-musl, big endian, works too)
set -euo pipefail
. ci/tools.sh
ci/install.sh linux
use_cross_toolchain
fewer_random_cases
if [ $# -eq 0 ]; then
    set -- i686-unknown-linux-musl aarch64-unknown-linux-musl
fi
# Debian's compiler comes without musl's start files; zig adds its own.
export RUSTFLAGS=-Clink-self-contained=no RUSTDOCFLAGS=-Clink-self-contained=no
for target; do
    case $target in
        # Lets the kernel start programs for this processor through QEMU.
        aarch64-* | s390x-*) update-binfmts --enable "qemu-${target%%-*}" ;;
    esac
    printf -- '-- %s\n' "$target"
    # Documentation tests are the same everywhere, and each links a program of its own. Under QEMU, which is many times
    # slower, only those run that meet the system's calls and the layout of its structures; not those about processes,
    # memory and amounts, nor those of pure functions.
    tests=(--lib --tests) options=()
    if [[ $target != i686-* ]]; then
        # Optimised a little: that takes longer to compile, and much less to run.
        export CARGO_PROFILE_DEV_OPT_LEVEL=1
        tests=(--lib)
        for test in calls conformance sessions tcp_keys uds_names wire_format; do
            tests+=(--test "$test")
        done
        # Not of them: what sends many megabytes, starts many processes, or is many tests in one.
        options=(--skip ::l3_ --skip ::l4_ --skip ::l5_ --skip all_of_it_holds --skip queues_of_one_message
            --skip many_that_take_turns)
    fi
    cargo-zigbuild test --all-features --target "$target" "${tests[@]}" -- "${options[@]}"
done
