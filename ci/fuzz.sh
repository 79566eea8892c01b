#!/usr/bin/env bash
# Runs each fuzz target for a few seconds, from the inputs in fuzz/corpus. A crash is a failure.
# usage: ci/fuzz.sh [SECONDS [TARGET...]]
#
# Without arguments the inputs are the same each time, as far as the time goes; with them they are drawn anew.
# New inputs go to target/fuzz-corpus. To keep them: cargo fuzz cmin TARGET fuzz/corpus/TARGET target/fuzz-corpus/TARGET
set -euo pipefail
. ci/tools.sh
if [ ! -e fuzz/Cargo.toml ]; then
    echo "Skipped: there is no fuzz/ yet."
    exit
fi
ci/install.sh basics fuzz
seconds=${1:-15}
# A check that differs by chance from run to run would blame changes that are none of its business: who hunts gives a time.
seed=$(($# == 0 ? 1 : 0))
if [ $# -gt 1 ]; then
    targets=("${@:2}")
else
    mapfile -t targets < <(cargo fuzz list)
fi
if [ ${#targets[@]} -eq 0 ]; then
    echo "fuzz/ has no target." >&2
    exit 1
fi
cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir "$target_dir/fuzz-clippy" -- -D warnings
# The sanitizers are unstable features, and any compiler has them with this; so no nightly is needed.
export RUSTC_BOOTSTRAP=1
cargo fuzz build
for target in "${targets[@]}"; do
    found="$target_dir/fuzz-corpus/$target"
    mkdir -p "$found" "fuzz/corpus/$target"
    printf -- '-- %s\n' "$target"
    cargo fuzz run "$target" "$found" "fuzz/corpus/$target" -- -seed="$seed" -max_total_time="$seconds" -timeout=10 -verbosity=0 -print_final_stats=1
done
