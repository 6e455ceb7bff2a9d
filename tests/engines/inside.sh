# The inside of the namespaces that `run` made: mounts, a root file system, then the cases of one engine.
#
# usage: bash inside.sh ENGINE RUNTIME PATH [WORD]
#
# A case is `check NAME <<'END' ... END`: bash code that runs with -eu, a deadline and the functions below, with stdin
# from /dev/null. Standard output has `ok NAME` or `not ok NAME` for each, standard error all that commands said.
set -u
ENGINE=$1 RUNTIME=$2 ONLY=${4-}
HERE=$(dirname "$(readlink -f "$0")")

quiet_mount() { mount "$@" || { echo "# mount $* failed"; exit 1; }; }

quiet_mount -t proc -o nosuid,nodev,noexec proc /proc
hierarchies=$(sed 's/^[0-9]*:\([^:]*\):.*/\1/' /proc/self/cgroup)
quiet_mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
quiet_mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for hierarchy in $hierarchies; do
    mkdir "/sys/fs/cgroup/${hierarchy#name=}"
    quiet_mount -t cgroup -o "$hierarchy" cgroup "/sys/fs/cgroup/${hierarchy#name=}"
done
# crun 1.8: "cgroups in hybrid mode not supported".
if [ "$RUNTIME" != crun ]; then
    mkdir /sys/fs/cgroup/unified
    quiet_mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
fi
for dir in /run /var/lib/containers /var/lib/docker /var/lib/containerd /var/lib/cni /etc/cni /opt /tmp; do
    case $3 in "$dir"/*) echo "# $3 would be covered" && exit 1 ;; esac
    if [ -d "$dir" ]; then quiet_mount -t tmpfs -o mode=755 "engine$dir" "$dir"; fi
done
chmod 1777 /tmp
ip link set lo up

export WORK=/run/work RUNTIME ENGINE
export RT=$WORK/bin/$RUNTIME
export HOME=$WORK/home TERM=xterm LC_ALL=C.UTF-8
mkdir -p $WORK/bin $WORK/rootfs $HOME
cp "$3" "$RT"
cd $WORK || exit

# A root file system of busybox, with every applet that is no daemon of the machine.
(
    cd $WORK/rootfs || exit
    mkdir -p bin dev etc home mnt proc root run sys tmp usr/bin var/empty
    chmod 1777 tmp
    cp /bin/busybox bin/busybox
    for applet in $(busybox --list); do [ -e "bin/$applet" ] || ln -s busybox "bin/$applet"; done
    printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n' >etc/passwd
    printf 'root:x:0:\ntty:x:5:\nuser:x:1000:\nextra:x:2000:user\n' >etc/group
    echo 'no program' >etc/text
    install -m 644 /dev/null bin/not-executable
    # ctr loses what a process wrote just before its end, on a busy machine: of 1,200 execs 3 with runc and 2 with mote, of 400
    # terminals 2 and 5, of 300 runs 0 and 1. So what is looked at comes from processes that go on for a moment.
    printf '#!/bin/sh\n"$@"\ncode=$?\nsleep 0.3\nexit $code\n' >bin/slowly
    chmod 755 bin/slowly
)

# is GOT WANTED: what is wanted is never empty, as what a failed command printed is.
is() { [ -n "$2" ] && [ "$1" = "$2" ] || { echo "got '$1' instead of '$2'" >&2; return 1; }; }
empty() { [ -z "$1" ] || { echo "'$1' instead of nothing" >&2; return 1; }; }
# has TEXT PATTERN: a glob within the text
has() { [[ $1 == *$2* ]] || { echo "no '$2' in '$1'" >&2; return 1; }; }
lacks() { [[ $1 != *$2* ]] || { echo "'$2' in '$1'" >&2; return 1; }; }
# code WANTED COMMAND...: the exit code; output is kept in $OUT
code() {
    local wanted=$1 got=0
    shift
    OUT=$("$@" 2>&1) || got=$?
    [ "$got" = "$wanted" ] || { echo "exit code $got instead of $wanted of $*: $OUT" >&2; return 1; }
}
# until_true COMMAND...: at most 40 seconds, for a machine that has much else to do
until_true() {
    local end=$((SECONDS + 40))
    until "$@" >/dev/null; do [ $SECONDS -lt $end ] || { echo "never true: $*" >&2; return 1; }; sleep 0.05; done
}
# terminal [--send TEXT]... COMMAND...: runs the command on a terminal of 33 rows and 77 columns; each text goes out at a
# prompt.
terminal() { "$HERE/terminal" "$@"; }
# cannot RUNTIME REASON: ends the case, which this runtime is not made for.
cannot() { if [ "$RUNTIME" = "$1" ]; then echo "$2" >"$WORK/reason"; exit 77; fi; }
export -f is empty has lacks code until_true terminal cannot
export HERE

check() {
    local name=$1 body
    body=$(cat)
    [[ $name == *"$ONLY"* ]] || return 0
    echo "$name" # `run` takes a name without its end for a case that did not come to it
    echo "=== $name" >&2
    timeout --kill-after=5 150 bash -euc "$body" </dev/null >&2
    case $? in
    0) echo "ok $name" ;;
    77) echo "cannot $name # $(cat "$WORK/reason")" ;;
    *) echo "not ok $name" ;;
    esac
}

. "$HERE/$ENGINE.sh"

# What a failed case left paused would not die, and this PID namespace not end.
find /sys/fs/cgroup -name freezer.state -exec sh -c 'for file; do echo THAWED >"$file"; done' sh {} + 2>/dev/null
find /sys/fs/cgroup -name cgroup.freeze -exec sh -c 'for file; do echo 0 >"$file"; done' sh {} + 2>/dev/null
