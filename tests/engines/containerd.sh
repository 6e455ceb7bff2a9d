# containerd with its shim for runc, by ctr. The root file system is a directory, as no registry can be reached.

export CONTAINERD_ADDRESS=$WORK/containerd.sock
cat >$WORK/containerd.toml <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "$CONTAINERD_ADDRESS"
END
containerd --config $WORK/containerd.toml >$WORK/containerd.log 2>&1 &
until_true ctr version >/dev/null || { echo '# containerd does not answer'; tail -5 $WORK/containerd.log >&2; exit 1; }

# run [OPTION]... ID COMMAND...: `ctr run` of the directory with the runtime under test.
run() {
    local options=()
    while [[ $1 == -* ]]; do
        case $1 in
        -d | -t | --rm | --tty | --net-host | --privileged | --read-only | --seccomp | --null-io | --allow-new-privs | --no-pivot | *=*) options+=("$1") ;;
        *) options+=("$1" "$2") && shift ;;
        esac
        shift
    done
    ctr run --rootfs --runc-binary "$RT" --env PATH=/bin "${options[@]}" $WORK/rootfs "$@"
}
# end ID: kills and removes.
end() {
    ctr task kill -s KILL "$1" || true
    until_true sh -c "ctr task ls | grep -q '^$1 .*STOPPED'"
    ctr task delete "$1" || true
    ctr container delete "$1"
}
export -f run end

check 'run: output, and the exit code of the program' <<'END'
is "$(run --rm r1 slowly echo hello)" hello
code 7 run --rm r2 sh -c 'exit 7'
code 137 run --rm r3 sh -c 'sleep 100 & kill -9 $!; wait $!'
END

check 'run: standard input and error' <<'END'
is "$(echo piped | run --rm i1 slowly head -n 1)" piped
is "$(run --rm i2 slowly sh -c 'echo err >&2' 2>&1 >/dev/null)" err
END

check 'run -t: a terminal of the right size' <<'END'
code 5 terminal --send 'stty size; tty; sleep 0.3; exit 5' run --rm -t t1 sh
has "$OUT" '33 77'
has "$OUT" /dev/pts/0
END

check 'run -d, task ls, kill, delete' <<'END'
run -d d1 sleep 100
has "$(ctr task ls)" RUNNING
code 1 ctr task delete d1
ctr task kill -s TERM d1 || true
ctr task kill -s KILL d1
until_true sh -c 'ctr task ls | grep -q STOPPED'
has "$(ctr task delete d1 2>&1)" 'exit code 137'
ctr container delete d1
lacks "$(ctr container ls)" d1
END

check 'task delete --force of what runs' <<'END'
run -d d2 sleep 100
ctr task delete --force d2 || true
ctr container delete d2
END

check 'kill: by name and by number' <<'END'
run -d k1 sh -c 'trap "echo usr1 >>/tmp/k1" USR1; trap "exit 4" HUP; echo ready >/tmp/k1; while :; do sleep 0.05; done'
until_true test -s $WORK/rootfs/tmp/k1
ctr task kill -s USR1 k1
until_true grep -q usr1 $WORK/rootfs/tmp/k1
ctr task kill -s 1 k1
until_true sh -c 'ctr task ls | grep -q STOPPED'
has "$(ctr task delete k1 2>&1)" 'exit code 4'
ctr container delete k1
END

check 'kill --all' <<'END'
run -d k2 sh -c 'sleep 1001 & sleep 1002'
until_true sh -c 'ctr task ps k2 | wc -l | grep -q [34]'
ctr task kill --all -s KILL k2
until_true sh -c 'ctr task ls | grep -q STOPPED'
until_true sh -c '! pgrep -x -f "sleep 1001" && ! pgrep -x -f "sleep 1002"'
ctr task delete k2 || true
ctr container delete k2
END

check 'exec: output, exit code, directory, user' <<'END'
run -d e1 sleep 100
is "$(ctr task exec --exec-id x1 e1 slowly echo inside)" inside
code 9 ctr task exec --exec-id x2 e1 sh -c 'exit 9'
is "$(ctr task exec --exec-id x3 --cwd /tmp --user 1000:1000 e1 slowly sh -c 'pwd; id -u; id -g')" '/tmp
1000
1000'
is "$(echo piped | ctr task exec --exec-id x4 e1 slowly cat)" piped
end e1
END

check 'exec: a missing program' <<'END'
run -d e2 sleep 100
code 1 ctr task exec --exec-id x1 e2 /nosuch
has "$OUT" 'o such file or directory'
code 1 ctr task exec --exec-id x2 e2 /bin/not-executable
has "$OUT" 'ermission denied'
end e2
END

check 'exec -t: a terminal' <<'END'
run -d e3 sleep 100
code 6 terminal --send 'stty size; tty; sleep 0.3; exit 6' ctr task exec --exec-id x1 -t e3 sh
has "$OUT" '33 77'
has "$OUT" /dev/pts/
end e3
END

check 'exec -d, and a kill of it alone' <<'END'
run -d e4 sleep 100
ctr task exec --exec-id x1 -d e4 sleep 77
until_true sh -c 'pgrep -x -f "sleep 77"'
ctr task kill --exec-id x1 -s KILL e4
until_true sh -c '! pgrep -x -f "sleep 77"'
has "$(ctr task ls)" RUNNING
end e4
END

check 'fifty execs one after the other leave nothing' <<'END'
run -d e5 sleep 100
for n in $(seq 50); do code 0 ctr task exec --exec-id n$n e5 sh -c "echo $n >>/tmp/execs"; done
is "$(cat $WORK/rootfs/tmp/execs)" "$(seq 50)"
is "$(ctr task ps e5 | wc -l)" 2
end e5
END

check 'pause and resume' <<'END'
rm -f $WORK/rootfs/tmp/ticks
run -d p1 sh -c 'while :; do echo x >>/tmp/ticks; sleep 0.02; done'
until_true test -s $WORK/rootfs/tmp/ticks
ctr task pause p1
has "$(ctr task ls)" PAUSED
first=$(wc -c <$WORK/rootfs/tmp/ticks)
sleep 0.3
is "$(wc -c <$WORK/rootfs/tmp/ticks)" "$first"
ctr task resume p1
has "$(ctr task ls)" RUNNING
until_true sh -c "[ \$(wc -c <$WORK/rootfs/tmp/ticks) -gt $first ]"
end p1
END

check 'task metrics' <<'END'
run -d --memory-limit 67108864 m1 sh -c 'x=$(head -c 1000000 /dev/zero | tr "\0" x); sleep 100; true'
has "$(ctr task metrics m1)" memory
until_true sh -c '[ $(ctr task metrics m1 | sed -n "s/^memory.usage_in_bytes *//p") -gt 1000000 ]'
has "$(ctr task metrics m1 | tr -s ' ')" 'pids.current'
end m1
END

check 'pause: kill reaches what is paused, and exec does not' <<'END'
run -d p2 sh -c 'trap "exit 4" TERM; while :; do sleep 0.02; done'
ctr task pause p2
code 1 timeout 10 ctr task exec --exec-id x1 p2 true
ctr task kill -s KILL p2
ctr task resume p2 || true
until_true sh -c 'ctr task ls | grep -q "^p2 .*STOPPED"'
ctr task delete p2 || true
ctr container delete p2
END

check 'task metrics of a container that works, as JSON' <<'END'
run -d --memory-limit 67108864 m2 sh -c 'sleep 100 & while :; do :; done'
until_true sh -c '[ $(ctr task metrics --format json m2 | python3 -c "
import json, sys
m = json.load(sys.stdin)
print(int(m[\"pids\"][\"current\"] == 2 and m[\"memory\"][\"usage\"][\"limit\"] == 67108864 and m[\"cpu\"][\"usage\"][\"total\"] > 50000000))") = 1 ]'
end m2
END

check 'task ps' <<'END'
run -d s1 sh -c 'sleep 1001 & sleep 1002'
until_true sh -c 'ctr task ps s1 | wc -l | grep -q [34]'
end s1
END

check '--memory-limit, --cpus: limits' <<'END'
run -d --memory-limit 33554432 --cpus 0.5 l1 sleep 100
pid=$(ctr task ls | awk '$1 == "l1" { print $2 }')
path=$(sed -n 's/^[0-9]*:memory://p' /proc/$pid/cgroup)
is "$(cat /sys/fs/cgroup/memory$path/memory.limit_in_bytes)" 33554432
path=$(sed -n 's/^[0-9]*:cpu://p' /proc/$pid/cgroup)
is "$(cat /sys/fs/cgroup/cpu$path/cpu.cfs_quota_us)" 50000
end l1
END

check '--env, --cwd, --label, --annotation' <<'END'
is "$(run --rm --env A=b --cwd /tmp --label x=y --annotation p=q u1 slowly sh -c 'echo $A; pwd')" 'b
/tmp'
END

check '--mount, --read-only' <<'END'
mkdir -p $WORK/data && echo content >$WORK/data/file
mkdir -p $WORK/rootfs/data
is "$(run --rm --mount type=bind,src=$WORK/data,dst=/data,options=rbind:ro v1 slowly cat /data/file)" content
code 1 run --rm --mount type=bind,src=$WORK/data,dst=/data,options=rbind:ro v2 touch /data/x
code 1 run --rm --read-only v3 touch /x
END

check '--cap-add, --cap-drop, --privileged, --seccomp' <<'END'
has "$(run --rm --cap-drop CAP_CHOWN c1 slowly grep CapBnd /proc/self/status)" 00000000a80425fa
has "$(run --rm --cap-add CAP_NET_ADMIN c2 slowly grep CapBnd /proc/self/status)" 00000000a80435fb
is "$(run --rm --privileged c3 slowly sh -c 'mount -t tmpfs x /mnt && echo mounted')" mounted
is "$(run --rm --seccomp c4 slowly sed -n 's/^Seccomp:.//p' /proc/self/status)" 2
is "$(run --rm c5 slowly sed -n 's/^NoNewPrivs:.//p' /proc/self/status)" 1
END

check '--net-host, --with-ns: joined namespaces' <<'END'
is "$(run --rm --net-host h1 slowly readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"
run -d h2 sleep 100
pid=$(ctr task ls | awk '$1 == "h2" { print $2 }')
is "$(run --rm --with-ns network:/proc/$pid/ns/net --with-ns ipc:/proc/$pid/ns/ipc h3 slowly sh -c 'readlink /proc/self/ns/net; readlink /proc/self/ns/ipc')" "$(readlink /proc/$pid/ns/net /proc/$pid/ns/ipc)"
end h2
END

check '--device, --rlimit-nofile, --pid-file' <<'END'
is "$(run --rm --device /dev/fuse v4 slowly stat -c '%F %t:%T' /dev/fuse)" 'character special file a:e5'
run -d --pid-file $WORK/pidfile v6 sleep 100
is "$(cat $WORK/pidfile)" "$(ctr task ls | awk '$1 == "v6" { print $2 }')"
end v6
END

check 'a program that is missing, and one that is none' <<'END'
code 1 run --rm f1 /nosuch
has "$OUT" 'o such file or directory'
code 1 run --rm f2 /bin/not-executable
has "$OUT" 'ermission denied'
END

check 'no descriptor of the shim is open in a container' <<'END'
is "$(run --rm fd1 slowly sh -c 'ls /proc/self/fd | tr "\n" " "')" '0 1 2 3 '
run -d fd2 sleep 100
is "$(ctr task exec --exec-id x1 fd2 slowly sh -c 'ls /proc/self/fd | tr "\n" " "')" '0 1 2 3 '
end fd2
END

check 'a container whose program ends at once is seen to end' <<'END'
for n in $(seq 20); do code 3 run --rm q$n sh -c 'exit 3'; done
END

check 'ten at once' <<'END'
for n in $(seq 10); do run --rm many$n sh -c "exit $n" & pids="${pids-} $!"; done
n=0
for pid in $pids; do n=$((n + 1)); got=0; wait "$pid" || got=$?; is $got $n; done
END

check 'nothing is left of the runtime' <<'END'
empty "$(ctr task ls -q)"
empty "$(ls -A /run/containerd/runc/default)"
empty "$(ls -A /run/containerd/io.containerd.runtime.v2.task/default)"
until_true sh -c '! pgrep -x containerd-shim'
for group in /sys/fs/cgroup/*/default; do empty "$(ls -d $group/*/ 2>/dev/null)"; done
END
