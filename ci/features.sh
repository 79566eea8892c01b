#!/usr/bin/env bash
# Compiles the library with every set of features, then runs the tests with none and with each one alone, and those in
# which features meet with each one left out. (All of them together is the step `test`.) A warning is an error.
#
# The features come from Cargo.toml. Not in the sets: `default`, and those that only tests switch on.
# usage: ci/features.sh
set -euo pipefail
. ci/tools.sh
ci/install.sh basics
fewer_random_cases
export CARGO_TARGET_DIR="$target_dir/features" CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 RUSTFLAGS="-D warnings"

mapfile -t features < <(cargo metadata --no-deps --format-version 1 |
    jq -r '.packages[] | select(.name == "wayside") | .features | keys[]' |
    grep -vxE 'default|conformance|internals')
count=${#features[@]}
all=$(((1 << count) - 1))
if [ "$count" -eq 0 ]; then
    echo "No features were found." >&2
    exit 1
fi

# The features of a set, separated by commas. Bit N of the number stands for the Nth feature.
names() {
    local index list=''
    for ((index = 0; index < count; index++)); do
        if (($1 >> index & 1)); then
            list+=${list:+,}${features[index]}
        fi
    done
    printf '%s' "$list"
}

printf '%d sets of: %s\n' $((all + 1)) "$(names $all)"
for ((set = 0; set <= all; set++)); do
    printf -- '-- check: %s\n' "$(names $set)"
    cargo check -q --lib --no-default-features --features "$(names $set)"
done

# A documentation test links a program of its own, and says nothing about features.
run_tests() {
    printf -- '-- test: %s\n' "$(names "$1")"
    cargo test -q --no-default-features --features "$(names "$1")" "${@:2}"
}
run_tests 0 --lib --tests
for ((index = 0; index < count; index++)); do
    run_tests $((1 << index)) --lib --tests
done
# With several features in, those tests are of interest in which they meet; the others need only compile.
for ((index = 0; index < count; index++)); do
    cargo check -q --all-targets --no-default-features --features "$(names $((all & ~(1 << index))))"
    run_tests $((all & ~(1 << index))) --lib --test settings --test endpoints
done
