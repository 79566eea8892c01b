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
    # Those that meet the system's calls, the layout of its structures, and the width of numbers. Not those about
    # processes and amounts, which are the same everywhere; nor documentation tests, each of which links a program.
    tests=(calls conformance sessions tcp_keys uds_names wire_format) options=() features=(--all-features)
    if [[ $target == i686-* ]]; then
        tests+=(events fuzz_corpus journal memory properties pushes reports settings worker)
    else
        # Under QEMU, which is many times slower. Optimised a little: that takes longer to compile, and much less to run.
        export CARGO_PROFILE_DEV_OPT_LEVEL=1
        # The aggregator calls the system nowhere that the rest does not, and takes long to compile.
        features=(--features "conformance,internals")
        # Without what sends many megabytes, starts many processes, or is many tests in one.
        options=(--skip ::l3_ --skip ::l4_ --skip ::l5_ --skip all_of_it_holds --skip queues_of_one_message
            --skip many_that_take_turns)
    fi
    twice cargo-zigbuild test "${features[@]}" --target "$target" --lib "${tests[@]/#/--test=}" -- "${options[@]}"
done
