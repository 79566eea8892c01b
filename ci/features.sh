#!/usr/bin/env bash
# Compiles the library with no, one, two, all but one and all features, with the default ones and with all transports
# alone, then the tests too with none, with each one alone and with each one left out, and runs those that differ by
# it. (All of them together is the step `test`.) A warning is an error.
#
# The features come from Cargo.toml. Not in the sets: those that only tests switch on.
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

# How many are in a set.
size() {
    local index size=0
    for ((index = 0; index < count; index++)); do
        size=$((size + ($1 >> index & 1)))
    done
    printf '%d' "$size"
}

# What goes wrong with a set goes wrong with two that meet, with one that is missing, or where all transports are in and
# nothing above them. All 128 sets would take five minutes of a processor, and 64 of them are different builds.
printf -- '-- check the library with none, one and two of: %s; with all, and with all but one\n' "$(names $all)"
for ((set = 0; set <= all; set++)); do
    size=$(size $set)
    if ((size <= 2 || size >= count - 1)); then
        cargo check -q --lib --no-default-features --features "$(names $set)"
    fi
done

printf -- '-- check the library with the default features, and with all transports alone\n'
cargo check -q --lib
transports=$(printf '%s\n' "${features[@]}" | grep -vxE 'settings|aggregator|http' | paste -sd,)
cargo check -q --lib --no-default-features --features "$transports"

# Everything must compile, and of the tests those run that differ by what is in.
compile_and_test() {
    printf -- '-- test: %s\n' "$(names "$1")"
    cargo check -q --all-targets --no-default-features --features "$(names "$1")"
    if [ $# -gt 1 ]; then
        cargo test -q --no-default-features --features "$(names "$1")" "${@:2}"
    fi
}
compile_and_test 0
for ((index = 0; index < count; index++)); do
    # Alone, a transport is tested by calls. The others have none to call over, but read settings.
    case ${features[index]} in
    settings | aggregator | http) compile_and_test $((1 << index)) --test settings ;;
    *) compile_and_test $((1 << index)) --test calls ;;
    esac
    compile_and_test $((all & ~(1 << index))) --test endpoints --test settings
done
