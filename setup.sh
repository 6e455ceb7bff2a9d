#!/bin/sh
# Installs what is missing, and nothing else: setup.sh [build|qemu|test|engines|bench|docs]...
#
# `build` needs a Rust toolchain, a C linker for build scripts and readelf; `qemu` the two emulators and what makes
# images; `test` and `bench` the runtimes that mote is compared with, and what the containers of the tests run; `engines` Podman,
# containerd and Docker; `docs` what renders the man page. The toolchain chosen is written to
# target/toolchain.env, which the Makefile includes. When all is there, this prints nothing and takes no time.
set -eu
cd "$(dirname "$0")"

ENV_FILE=target/toolchain.env
CHANNEL=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
TARGETS=$(sed -n 's/^targets = \[\(.*\)\]/\1/p' rust-toolchain.toml | tr -d '",')

say() { echo "setup: $*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# need COMMAND PACKAGE: remembers PACKAGE when COMMAND is not there.
MISSING=
need() { has "$1" || MISSING="$MISSING $2"; }

can_apt_install() {
    [ "$(id -u)" = 0 ] && has apt-get && grep -qs '^ID=debian$' /etc/os-release &&
        grep -qs '^VERSION_ID="12"$' /etc/os-release
}

# Installs the packages that `need` remembered, or says once what somebody else has to install.
install_missing() {
    [ -n "$MISSING" ] || return 0
    if ! can_apt_install; then
        say "please install (names of Debian 12's packages; root there may leave it to setup.sh):$MISSING" >&2
        exit 1
    fi
    say "installing Debian packages:$MISSING"
    apt_update_once
    # shellcheck disable=SC2086 # a list of words
    apt_get install -y --no-install-recommends $MISSING
    MISSING=
}

# Runs a command while no package may start its services: the tests start the engines, in namespaces of their own.
without_services() {
    if [ -z "$MISSING" ] || [ -e /usr/sbin/policy-rc.d ]; then
        "$@"
        return
    fi
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d 2>/dev/null && chmod 755 /usr/sbin/policy-rc.d
    "$@"
    rm -f /usr/sbin/policy-rc.d
    trap - EXIT
}

# apt is loud and its noise helps only when it fails.
apt_get() {
    mkdir -p target
    DEBIAN_FRONTEND=noninteractive apt-get "$@" >target/apt.log 2>&1 || {
        cat target/apt.log >&2
        say "apt-get $1 failed" >&2
        exit 1
    }
}

APT_UPDATED=
apt_update_once() {
    [ -z "$APT_UPDATED" ] || return 0
    say 'updating the package lists'
    # One unreachable third-party source must not stop the set-up: `install` reports what it really misses.
    apt-get update >/dev/null 2>&1 || true
    APT_UPDATED=yes
}

# ---- the Rust toolchain -------------------------------------------------------------------------------------------

rustup_is_complete() {
    sysroot=$(rustc "+$CHANNEL" --print sysroot 2>/dev/null) || return 1
    for path in bin/cargo-clippy bin/cargo-fmt lib/rustlib/src/rust/library/std; do
        [ -e "$sysroot/$path" ] || return 1
    done
    for target in $TARGETS; do
        [ -e "$sysroot/lib/rustlib/$target/lib" ] || return 1
    done
}

use_rustup() {
    has rustup || return 1
    if ! rustup_is_complete; then
        say "rustup: installing Rust $CHANNEL with rust-src, clippy, rustfmt and the musl targets"
        # rustup reads the rest of rust-toolchain.toml by itself only where RUSTUP_AUTO_INSTALL allows it.
        # shellcheck disable=SC2046,SC2086 # a list of options
        rustup toolchain install "$CHANNEL" --no-self-update --profile minimal -c rust-src -c clippy -c rustfmt \
            $(printf -- '-t %s ' $TARGETS) >target/rustup.log 2>&1 || true
        rustup_is_complete || {
            say "rustup cannot install Rust $CHANNEL (see target/rustup.log)"
            return 1
        }
    fi
    # Both targets link with lld here: relative relocations packed as bits instead of 24 bytes each, and functions with
    # the same code only once. Rust promises no function an address of its own.
    # The small build has LLVM copy what is longer than a register by calling memcpy, and gives functions that differ in constants
    # alone these as arguments. On x86_64 it inlines nothing that is larger than a call, even when it is called once, as in a
    # large function each place on the stack takes four bytes instead of one (on aarch64 that makes it larger), and has
    # comparisons instead of tables of jumps, of eight bytes each. The numbers were found by trying, with the LLVM of this very
    # release; other toolchains do without.
    write_env "rustup's Rust $CHANNEL" <<'EOF'
export CARGO := cargo
LLD_FLAGS := -Clink-arg=--pack-dyn-relocs=relr -Clink-arg=--icf=all
RUSTFLAGS_x86_64 := $(LLD_FLAGS)
RUSTFLAGS_aarch64 := $(LLD_FLAGS)
SMALL := -Cllvm-args=-max-store-memcpy=1 -Cllvm-args=-enable-global-merge-func
SMALL_aarch64 := $(SMALL) -Cllvm-args=-inline-threshold=10 -Cllvm-args=-machine-outliner-reruns=2
SMALL_x86_64 := $(SMALL) -Cllvm-args=-inline-threshold=0 -Cllvm-args=-inline-instr-cost=100 \
	-Cllvm-args=-inline-call-penalty=800 -Cllvm-args=-min-jump-table-entries=100000
EOF
}

# Debian 12's own toolchain. It has no library for the musl targets: every build makes it from source, so the plain
# build asks for build-std too. The C runtime comes from musl-tools, and for the other architecture from an unpacked
# musl-dev, which lacks what Rust's own brings: compiler-builtins-mem. Rust links libunwind by name; with panic=abort
# a release build uses nothing of it, and a debug build what prints a backtrace, which ends at once here
# (_URC_END_OF_STACK is 5).
use_debian() {
    [ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || {
        say "please install rustup (https://rustup.rs) with Rust $CHANNEL" >&2
        exit 1
    }
    for package in rustc-web cargo-web rust-web-src rust-web-clippy rustfmt-web; do
        [ -e "/usr/share/doc/$package" ] || MISSING="$MISSING $package"
    done
    need musl-gcc musl-tools
    need ld.lld lld
    need python3 python3
    install_missing
    lib=$PWD/target/debian-musl
    mkdir -p "$lib/x86_64"
    [ -e "$lib/libunwind.a" ] || {
        echo 'int _Unwind_Backtrace(void) { return 5; } long _Unwind_GetIP(void) { return 0; }' |
            gcc -c -x c - -o "$lib/x86_64/unwind.o"
        ar cr "$lib/x86_64/libunwind.a" "$lib/x86_64/unwind.o"
        ar cr "$lib/libunwind.a"
    }
    if [ ! -e "$lib/aarch64" ]; then
        say 'unpacking musl-dev for arm64 to target/debian-musl'
        dpkg -x "$(tools/debian.py arm64 musl-dev)" "$lib/unpacked"
        ln -s unpacked/usr/lib/aarch64-linux-musl "$lib/aarch64"
    fi
    arm=$lib/aarch64
    write_env "Debian's rustc-web" <<EOF
export CARGO := /usr/bin/cargo
export RUSTC := /usr/bin/rustc
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER := musl-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER := ld.lld
PLAIN_CARGO_FLAGS := -Zbuild-std=std,panic_abort -Zbuild-std-features=compiler-builtins-mem
BUILD_STD_FEATURES := ,compiler-builtins-mem
RUSTFLAGS_x86_64 := -Clink-self-contained=no -Crelocation-model=static -L$lib/x86_64
RUSTFLAGS_aarch64 := -Clink-self-contained=no -Clinker-flavor=ld.lld -L$lib -L$arm -Clink-args=$arm/crt1.o -Clink-args=$arm/crti.o -Clink-args=$arm/crtn.o
EOF
}

# write_env NAME: standard input becomes the file that make includes; says so only when that changes something.
write_env() {
    { echo "# By setup.sh: $1."; cat; } >"$ENV_FILE.new"
    if cmp -s "$ENV_FILE.new" "$ENV_FILE"; then
        rm "$ENV_FILE.new"
    else
        mv "$ENV_FILE.new" "$ENV_FILE"
        say "building with $1"
    fi
}

# ---- what was asked for -------------------------------------------------------------------------------------------

mkdir -p target
for what in "${@:-build}"; do
    case $what in
    build)
        need cc gcc
        need readelf binutils
        need git git
        install_missing
        # Once Debian's toolchain was chosen it stays, lest every build waits for a rustup that cannot download.
        if grep -qs "Debian's" "$ENV_FILE"; then use_debian; else use_rustup || use_debian; fi
        ;;
    qemu)
        need qemu-system-x86_64 qemu-system-x86
        need qemu-system-aarch64 qemu-system-arm
        need python3 python3
        python3 -c 'import yaml' 2>/dev/null || MISSING="$MISSING python3-yaml"
        need dpkg-deb dpkg
        PATH=$PATH:/sbin:/usr/sbin need mke2fs e2fsprogs
        # The program in the tests' devices that makes system calls.
        case $(uname -m) in
        x86_64) need aarch64-linux-gnu-gcc 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross' ;;
        aarch64) need x86_64-linux-gnu-gcc 'gcc-x86-64-linux-gnu libc6-dev-amd64-cross' ;;
        esac
        install_missing
        ;;
    test)
        need runc runc
        need newuidmap uidmap
        need busybox busybox-static
        need cc gcc
        # The tests of network namespaces.
        need ip iproute2
        need nsenter util-linux
        # By its path: what is in it is not in PATH. Its portmap runs iptables.
        [ -x /usr/lib/cni/bridge ] || MISSING="$MISSING containernetworking-plugins"
        need iptables iptables
        # Slows single system calls down.
        need strace strace
        # The tests of the tools.
        need python3 python3
        python3 -c 'import yaml' 2>/dev/null || MISSING="$MISSING python3-yaml"
        # The shells whose completions are tried.
        need zsh zsh
        need fish fish
        # The tests of seccomp compare with it.
        [ -e /usr/include/seccomp.h ] || MISSING="$MISSING libseccomp-dev"
        install_missing
        ;;
    engines)
        need runc runc
        need crun crun
        need busybox busybox-static
        need python3 python3
        need podman podman
        need conmon conmon
        need newuidmap uidmap
        need ctr containerd
        # By its path: a docker client from elsewhere stays as it is, and comes first in PATH where it did.
        [ -x /usr/sbin/dockerd ] || MISSING="$MISSING docker.io"
        need tini tini
        need ip iproute2
        need iptables iptables
        need pgrep procps
        without_services install_missing
        ;;
    bench)
        need runc runc
        need crun crun
        need strace strace
        need cc gcc
        need qemu-system-x86_64 qemu-system-x86
        need qemu-system-aarch64 qemu-system-arm
        # benches/boot builds its C init for both.
        case $(uname -m) in
        x86_64) need aarch64-linux-gnu-gcc 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross' ;;
        aarch64) need x86_64-linux-gnu-gcc 'gcc-x86-64-linux-gnu libc6-dev-amd64-cross' ;;
        esac
        install_missing
        ;;
    docs)
        need go-md2man go-md2man
        install_missing
        ;;
    *)
        say "unknown argument $what: build, qemu, test, engines, bench or docs" >&2
        exit 1
        ;;
    esac
done
