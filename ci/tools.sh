# shellcheck shell=bash
# Read by the other scripts: where the tools are that ci/install.sh adds besides packages.

tools=${WAYSIDE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/wayside-tools}
export PATH="$PATH:$tools/bin"

# The folder that cargo builds into.
target_dir=${CARGO_TARGET_DIR:-target}

# Makes cargo build for other systems: with Debian's Rust, which comes with the source of the standard library.
use_cross_toolchain() {
    # Debian's cargo and rustc come before those of rustup.
    export PATH="/usr/bin:$tools/python/bin:$PATH" PYTHONPATH="$tools/python"
    # Building the standard library is an unstable feature, which the first variable allows.
    export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind,proc_macro,test
    # Apart from what the other compiler builds. Each target makes its own folder in there.
    export CARGO_TARGET_DIR="$target_dir/cross"
    # Nobody debugs these builds, and they are large.
    export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
}

# The number of the LLVM release that Debian's rustc contains.
llvm_version() {
    /usr/bin/rustc --version --verbose | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p'
}

# For tests that run again on another system or with other features: the same tests, with fewer random cases each.
# (The step `test` runs them all.)
fewer_random_cases() {
    export PROPTEST_CASES=${PROPTEST_CASES:-16} WAYSIDE_SIM_SEEDS=${WAYSIDE_SIM_SEEDS:-20}
}

# For tests on an emulated processor, where what waits for something may be overtaken by chance: once more if they fail.
# What fails not by chance fails again.
twice() {
    if ! "$@"; then
        printf -- '-- failed, so once more: %s\n' "$*"
        "$@"
    fi
}
