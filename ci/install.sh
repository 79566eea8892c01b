#!/usr/bin/env bash
# Installs what the checks need, on Debian 12, as root. What is there already is left alone.
# usage: ci/install.sh [PART...]      (all parts without an argument)
#        PART: basics windows macos linux msrv threads fuzz
set -euo pipefail
here=$(dirname "$0")
# shellcheck source=ci/tools.sh
. "$here/tools.sh"

parts=("$@")
if [ $# -eq 0 ]; then
    parts=(basics windows macos linux msrv threads fuzz)
fi

# Installs those of the packages that are missing.
packages() {
    local package missing=()
    for package; do
        if ! dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed; then
            missing+=("$package")
        fi
    done
    if [ ${#missing[@]} -gt 0 ]; then
        update_package_lists
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
            { cat "$log"; false; }
    fi
}

# Debian's lists change daily; once a run is enough.
lists_updated=
update_package_lists() {
    if [ -z "$lists_updated" ]; then
        apt-get update -q >"$log" 2>&1 || { cat "$log"; false; }
        lists_updated=yes
    fi
}

# Debian's Rust with the source of the standard library, and the linker of the host.
cross_toolchain() {
    packages rustc-web cargo-web rust-web-clippy rust-web-src gcc libc6-dev
}

# Zig: a linker with the system libraries of macOS, FreeBSD and musl.
zig() {
    packages python3-pip
    if [ ! -e "$tools/python/bin/cargo-zigbuild" ]; then
        /usr/bin/python3 -m pip install -q --root-user-action=ignore --target "$tools/python" \
            ziglang==0.15.2 cargo-zigbuild==0.24.0
    fi
}

install_basics() {
    packages shellcheck jq valgrind
}

install_windows() {
    cross_toolchain
    packages gcc-mingw-w64-x86-64-win32 wine wine64
    export WINEPREFIX="$tools/wine" WINEDEBUG=-all
    local system32="$WINEPREFIX/drive_c/windows/system32"
    if [ ! -e "$system32/bcryptprimitives.dll" ]; then
        mkdir -p "$tools"
        # Wine's Windows folder, without the .NET and HTML that it would ask for.
        WINEDLLOVERRIDES="mscoree,mshtml,winemenubuilder.exe=" wineboot --init
        wineserver --wait
        x86_64-w64-mingw32-gcc -shared -nostdlib -Wl,--entry=0 -o "$system32/bcryptprimitives.dll" \
            "$here/bcryptprimitives.c" -ladvapi32
    fi
}

install_macos() {
    cross_toolchain
    zig
}

install_linux() {
    cross_toolchain
    packages qemu-user qemu-user-binfmt binfmt-support
    zig
}

# The compiler of Debian's older Rust, which can't be installed beside the newer.
install_msrv() {
    packages cargo-web gcc libc6-dev
    local old="$tools/rust-1.85" version
    if [ -e "$old/rustc" ]; then
        return
    fi
    update_package_lists
    version=$(apt-cache madison rustc-web | awk '$3 ~ /^1\.85/ { print $3; exit }')
    rm -rf "$old"
    mkdir -p "$old"
    (
        cd "$old"
        apt-get download -q "rustc-web=$version" "libstd-rust-web-1.85=$version" "libstd-rust-web-dev=$version" libllvm19
        for package in *.deb; do
            dpkg --extract "$package" .
        done
        rm ./*.deb
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' \
            "$old/usr/lib/x86_64-linux-gnu:$old/usr/lib/llvm-19/lib" "$old/usr/bin/rustc" >rustc.new
        chmod +x rustc.new
        mv rustc.new rustc
    )
}

install_threads() {
    cross_toolchain
    packages "libclang-rt-$(llvm_version)-dev" "lld-$(llvm_version)"
}

install_fuzz() {
    packages g++
    if ! command -v cargo-fuzz >/dev/null; then
        cargo install -q --locked --root "$tools" cargo-fuzz@0.13.2
    fi
}

if ! command -v apt-get >/dev/null; then
    echo "The tools for these checks can only be installed on Debian 12: ${parts[*]}" >&2
    exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# This one compiles for a minute while the others download.
compiling=
for part in "${parts[@]}"; do
    if [ "$part" = fuzz ] && [ ${#parts[@]} -gt 1 ]; then
        install_fuzz &
        compiling=$!
    fi
done
for part in "${parts[@]}"; do
    case $part in
        fuzz) [ -n "$compiling" ] || install_fuzz ;;
        basics | windows | macos | linux | msrv | threads) "install_$part" ;;
        *)
            echo "There is no part $part." >&2
            exit 2
            ;;
    esac
done
if [ -n "$compiling" ]; then
    wait "$compiling"
fi
