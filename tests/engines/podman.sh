# Podman with conmon. Its options stand in containers.conf, so that the cases read as what somebody types.
#
# The limits are what a root without CAP_SYS_RESOURCE can set; Podman's own default is above it.

export CONTAINERS_CONF=$WORK/containers.conf CONTAINERS_STORAGE_CONF=$WORK/storage.conf
cat >"$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[engine]
runtime = "$RUNTIME"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["runc", "crun", "mote"]
runtime_supports_nocgroup = ["crun", "mote"]
infra_command = "/bin/sleep"
[engine.runtimes]
$RUNTIME = ["$RT"]
END
cat >"$CONTAINERS_STORAGE_CONF" <<END
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
END
tar -C $WORK/rootfs -c . | podman import - img >&2 || echo '# podman import failed'

# remove NAME...: at once
remove() { podman rm -f -t 0 "$@"; }
export -f remove
. "$HERE/both.sh"

check 'run --rootfs: a directory as root' <<'END'
is "$(podman run --rm --rootfs $WORK/rootfs cat /etc/text)" 'no program'
END

check '--group-add keep-groups' <<'END'
cannot runc 'Podman asks for it by an annotation of crun'
is "$(setpriv --groups 100,200 podman run --rm --group-add keep-groups img id -G)" '0 100 200'
is "$(setpriv --groups 100,200 podman run --rm img id -G)" 0
END

check 'create and start as two commands, then start again' <<'END'
podman create --name two img sh -c 'echo started'
is "$(podman inspect -f '{{.State.Status}}' two)" created
is "$(podman start --attach two)" started
is "$(podman start --attach two)" started
podman rm two
END

check 'exec: 126 and 127' <<'END'
podman run -d --name e2 img sleep 100
code 127 podman exec e2 /nosuch
code 126 podman exec e2 /bin/not-executable
END

check 'exec --privileged and the plain one: capabilities' <<'END'
podman run -d --name e5 img sleep 100
plain=$(podman exec e5 sh -c 'grep CapEff /proc/self/status')
has "$plain" 00000000a80425fb
full=$(podman exec --privileged e5 sh -c 'grep CapEff /proc/self/status')
lacks "$full" 00000000a80425fb
END

check 'kill: by name and by number' <<'END'
podman run -d --name k1 img sh -c 'trap "echo usr1 >>/tmp/got" USR1; trap "echo hup >>/tmp/got" HUP; echo ready >/tmp/ready; while :; do sleep 0.05; done'
until_true podman exec k1 test -e /tmp/ready
podman kill -s USR1 k1
until_true podman exec k1 grep -q usr1 /tmp/got
podman kill -s 1 k1
until_true podman exec k1 grep -q hup /tmp/got
podman kill k1
is "$(podman wait k1)" 137
code 125 podman kill k1
END

check 'rm -f: a running container' <<'END'
podman run -d --name r1 img sh -c 'trap "" TERM; sleep 1000'
podman rm -f -t 0 r1
code 1 podman container exists r1
END

check 'restart' <<'END'
podman run -d --name r2 img sleep 100
before=$(podman inspect -f '{{.State.Pid}}' r2)
podman restart -t 0 r2
after=$(podman inspect -f '{{.State.Pid}}' r2)
[ "$before" != "$after" ]
is "$(podman exec r2 echo again)" again
END

check 'inspect and ps: pid, status, times' <<'END'
podman run -d --name i1 img sleep 100
is "$(podman inspect -f '{{.State.Running}} {{.State.OOMKilled}} {{.OCIRuntime}}' i1)" "true false $RUNTIME"
pid=$(podman inspect -f '{{.State.Pid}}' i1)
has "$(tr '\0' ' ' <"/proc/$pid/cmdline")" 'sleep 100'
has "$(podman ps --filter name=i1 --format '{{.Status}}')" Up
is "$(podman top i1 pid | tail -1)" 1
END

check '--user, --group-add, --workdir, --hostname, --env' <<'END'
is "$(podman run --rm --user 1000:1000 --group-add 5 img sh -c 'id -u; id -g; id -G')" '1000
1000
1000 5'
is "$(podman run --rm --user user img id -G)" '1000 2000'
is "$(podman run --rm --workdir /tmp --hostname box --env A=b img sh -c 'pwd; hostname; echo $A')" '/tmp
box
b'
END

check '--privileged' <<'END'
is "$(podman run --rm --privileged img sh -c 'mount -t tmpfs x /mnt && echo mounted')" mounted
code 1 podman run --rm img sh -c 'mount -t tmpfs x /mnt'
END

check '--security-opt no-new-privileges, seccomp of the engine' <<'END'
has "$(podman run --rm --security-opt no-new-privileges img grep NoNewPrivs /proc/self/status)" 1
is "$(podman run --rm img sed -n 's/^Seccomp:.//p' /proc/self/status)" 2
is "$(podman run --rm --security-opt seccomp=unconfined img sed -n 's/^Seccomp:.//p' /proc/self/status)" 0
has "$(podman run --rm --cap-add sys_admin img swapon /etc/text 2>&1 || true)" 'swapon: /etc/text: Operation not permitted'
has "$(podman run --rm --cap-add sys_admin --security-opt seccomp=unconfined img swapon /etc/text 2>&1 || true)" 'swapon: /etc/text: Invalid argument'
END

check '--security-opt seccomp=FILE: a profile of one call' <<'END'
cat >$WORK/mkdir.json <<'JSON'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
JSON
code 1 podman run --rm --security-opt seccomp=$WORK/mkdir.json img mkdir /tmp/x
has "$OUT" 'No space'
END

check '--read-only, --tmpfs' <<'END'
code 1 podman run --rm --read-only --read-only-tmpfs=false img touch /x
is "$(podman run --rm --read-only --tmpfs /scratch:size=1m,mode=1770 img sh -c 'touch /scratch/x && stat -c %a /scratch && df -k /scratch | tail -1 | tr -s " " | cut -d" " -f2')" '1770
1024'
END

check '-v: directories and files, read-only, made by Podman' <<'END'
mkdir -p $WORK/volume && echo content >$WORK/volume/file
is "$(podman run --rm -v $WORK/volume:/data img sh -c 'cat /data/file; echo new >/data/made')" content
is "$(cat $WORK/volume/made)" new
code 1 podman run --rm -v $WORK/volume:/data:ro img touch /data/x
is "$(podman run --rm -v $WORK/volume/file:/etc/one:ro img cat /etc/one)" content
podman run --rm -v named:/n img sh -c 'echo kept >/n/f'
is "$(podman run --rm -v named:/n img cat /n/f)" kept
END

check '-v with propagation: a later mount is seen' <<'END'
mkdir -p $WORK/shared && mount -t tmpfs shared $WORK/shared && mount --make-shared $WORK/shared && mkdir $WORK/shared/late
podman run -d --name v1 -v $WORK/shared:/data:rslave img sleep 100
mount -t tmpfs late $WORK/shared/late && touch $WORK/shared/late/seen
podman exec v1 test -e /data/late/seen
END

check '--mount type=bind, tmpfs; --shm-size; --device' <<'END'
is "$(podman run --rm --mount type=tmpfs,destination=/t,tmpfs-size=1m --shm-size 2m img sh -c 'df -k /t /dev/shm | tail -2 | tr -s " " | cut -d" " -f2')" '1024
2048'
is "$(podman run --rm --device /dev/fuse:/dev/renamed:r img stat -c '%F %t:%T' /dev/renamed)" 'character special file a:e5'
END

check '--net none, host, container, bridge' <<'END'
is "$(podman run --rm --net none img sh -c 'ls /sys/class/net')" lo
host=$(readlink /proc/self/ns/net)
is "$(podman run --rm --net host img readlink /proc/self/ns/net)" "$host"
podman run -d --name n1 --net bridge img sleep 100
has "$(podman exec n1 ip addr show eth0)" 'inet 10.88.'
is "$(podman run --rm --net container:n1 img readlink /proc/self/ns/net)" "$(podman exec n1 readlink /proc/self/ns/net)"
END

check '--pid, --ipc, --uts host and container' <<'END'
is "$(podman run --rm --pid host --ipc host --uts host img sh -c 'for n in pid ipc uts; do readlink /proc/self/ns/$n; done')" "$(readlink /proc/self/ns/pid /proc/self/ns/ipc /proc/self/ns/uts)"
podman run -d --name q1 img sleep 100
has "$(podman run --rm --pid container:q1 img ps)" 'sleep 100'
END

check '--userns with maps' <<'END'
is "$(podman run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 img sh -c 'id -u; tr -s " " </proc/self/uid_map')" '0
 0 100000 65536'
END

check '--init: a program as PID 1 that reaps' <<'END'
cp /usr/bin/tini-static $WORK/tini 2>/dev/null || cp /usr/bin/tini $WORK/tini
if ! ldd $WORK/tini >/dev/null 2>&1; then has "$(podman run --rm --init --init-path $WORK/tini img ps)" init; fi
END

check '--cgroupns private and host' <<'END'
is "$(podman run --rm --cgroupns private img sed -n 's/.*pids://p' /proc/self/cgroup)" /
has "$(podman run --rm --cgroupns host img sed -n 's/.*pids://p' /proc/self/cgroup)" libpod
END

check 'exit codes 125, 126, 127' <<'END'
code 125 podman run --rm --nosuchoption img true
code 126 podman run --rm img /bin/not-executable
code 126 podman run --rm img /etc
code 127 podman run --rm img /nosuch
code 127 podman run --rm img nosuch
code 126 podman run --rm --workdir /etc/passwd img true || code 127 podman run --rm --workdir /etc/passwd img true
END

check '--memory: the limit is there and kills' <<'END'
podman run -d --name m1 --memory 32m img sleep 100
is "$(podman exec m1 cat /sys/fs/cgroup/memory/memory.limit_in_bytes)" 33554432
code 137 podman run --name m2 --memory 32m --memory-swap 32m img sh -c 'x=$(head -c 50000000 /dev/zero | tr "\0" x); echo ${#x}'
END

check '--pids-limit' <<'END'
podman run -d --name l1 --pids-limit 10 img sleep 100
is "$(podman exec l1 cat /sys/fs/cgroup/pids/pids.max)" 10
code 2 podman run --rm --pids-limit 5 img sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'
END

check '--cpus, --cpu-shares, --cpuset-cpus' <<'END'
podman run -d --name c1 --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 img sleep 100
is "$(podman exec c1 cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpuset/cpuset.cpus)" '50000
512
0'
END

check 'stats' <<'END'
podman run -d --name st img sleep 100
has "$(podman stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' st)" 'st 1 '
END

check 'stats of a container that works' <<'END'
podman run -d --name w1 --memory 64m --pids-limit 20 img sh -c 'x=$(head -c 8000000 /dev/zero | tr "\0" x); sleep 100 & while :; do :; done'
until_true sh -c "[ \$(podman stats --no-stream --no-reset --format '{{.MemUsageBytes}} {{.PIDs}} {{.CPU}}' w1 | awk '{ print (\$1 + 0 > 7 && \$1 ~ /MiB/ && / 67.11MB|64MiB/ && \$4 == 2 && \$5 + 0 > 1) }') = 1 ]"
podman kill w1
END

check 'pod pause, unpause and stats' <<'END'
podman pod create --name pp --infra-image img --infra-command '/bin/sleep 1000'
podman run -d --name pp1 --pod pp img sh -c 'while :; do echo x >>/tmp/ticks; sleep 0.02; done'
until_true podman exec pp1 test -s /tmp/ticks
has "$(podman pod stats --no-stream --format '{{.Name}} {{.PIDS}}' pp)" 'pp1 2'
podman pod pause pp
is "$(podman inspect -f '{{.State.Status}}' pp1)" paused
root=/proc/$(podman inspect -f '{{.State.Pid}}' pp1)/root
first=$(wc -c <$root/tmp/ticks)
sleep 0.3
is "$(wc -c <$root/tmp/ticks)" "$first"
podman pod unpause pp
until_true sh -c "[ \$(wc -c <$root/tmp/ticks) -gt $first ]"
podman pod rm -f -t 0 pp
END

check 'update of limits while it runs' <<'END'
podman run -d --name u1 --memory 64m img sleep 100
podman update --memory 32m --cpu-shares 300 u1
is "$(podman exec u1 cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares)" '33554432
300'
END

check 'health checks run by exec' <<'END'
podman run -d --name h1 --health-cmd 'test -e /tmp/well' --health-retries 1 --health-interval disable img sleep 100
code 1 podman healthcheck run h1
podman exec h1 touch /tmp/well
code 0 podman healthcheck run h1
is "$(podman inspect -f '{{.State.Health.Status}}' h1)" healthy
END

check 'a pod of two containers' <<'END'
podman pod create --name pod --infra-image img --infra-command '/bin/sleep 1000' --net none
podman run -d --pod pod --name one img sh -c 'echo from-one | nc -l -p 8080; sleep 100'
podman run -d --pod pod --name two img sleep 100
for n in net ipc uts; do is "$(podman exec one readlink /proc/self/ns/$n)" "$(podman exec two readlink /proc/self/ns/$n)"; done
until_true sh -c "[ \"\$(podman exec two nc -w 2 127.0.0.1 8080)\" = from-one ]"
podman pod pause pod
podman pod unpause pod
podman pod stop -t 0 pod
podman pod rm -f pod
END

check 'a pod with shared process ids' <<'END'
podman pod create --name pidpod --infra-image img --infra-command '/bin/sleep 1000' --net none --share pid,net
podman run -d --pod pidpod --name first img sleep 55
podman run -d --pod pidpod --name second img sleep 66
has "$(podman exec second ps)" 'sleep 55'
podman pod rm -f -t 0 pidpod
END

check 'hooks of a directory: createRuntime, poststop' <<'END'
mkdir -p $WORK/hooks.d
cat >$WORK/hook.sh <<'SH'
#!/bin/sh
cat >/run/work/hook.$1
SH
chmod 755 $WORK/hook.sh
for stage in prestart createRuntime createContainer startContainer poststart poststop; do
    [ $stage = startContainer ] && continue
    echo "{\"version\":\"1.0.0\",\"hook\":{\"path\":\"$WORK/hook.sh\",\"args\":[\"hook.sh\",\"$stage\"]},\"when\":{\"always\":true},\"stages\":[\"$stage\"]}" >$WORK/hooks.d/$stage.json
done
podman --hooks-dir $WORK/hooks.d run --name hooked img true
podman --hooks-dir $WORK/hooks.d rm hooked
has "$(cat $WORK/hook.createRuntime)" '"pid"'
has "$(cat $WORK/hook.prestart)" '"bundle"'
has "$(cat $WORK/hook.createContainer)" '"id"'
has "$(cat $WORK/hook.poststart)" '"id"'
until_true test -s $WORK/hook.poststop
END

check 'build: RUN in a container' <<'END'
mkdir -p $WORK/build && printf 'FROM localhost/img\nRUN echo built >/tmp/b\nCMD ["cat", "/tmp/b"]\n' >$WORK/build/Containerfile
podman build --runtime $RT -q -t built $WORK/build
is "$(podman run --rm built)" built
END

check '--preserve-fds' <<'END'
echo passed >$WORK/passed
is "$(podman run --rm --preserve-fds 1 img cat /proc/self/fd/3 3<$WORK/passed)" passed
END

check '--sdnotify container: the service manager hears from the program' <<'END'
cat >$WORK/manager.py <<'PY'
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("manager.sock")
while True:
    with open("manager.heard", "ab") as f:
        f.write(s.recv(4096) + b"\n")
PY
(cd $WORK && exec timeout 50 python3 manager.py) &
until_true test -S $WORK/manager.sock
NOTIFY_SOCKET=$WORK/manager.sock podman run -d --name sd1 --sdnotify container img sleep 100 & job=$!
until_true sh -c '[ "$(podman inspect -f "{{.State.Pid}}" sd1 2>&1 | grep -c "^[1-9]")" = 1 ]'
pid=$(podman inspect -f '{{.State.Pid}}' sd1)
until_true sh -c "tr '\0' '\n' </proc/$pid/environ | grep -q ^NOTIFY_SOCKET=/run/notify/"
sleep 0.2
lacks "$(cat $WORK/manager.heard 2>/dev/null || true)" READY
nsenter -t $pid -p python3 -c 'import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", sys.argv[1])' /proc/$pid/root/run/notify/notify.sock
until_true grep -q READY=1 $WORK/manager.heard
until_true grep -q MAINPID= $WORK/manager.heard
wait $job
END

check '--cgroups disabled' <<'END'
cannot runc 'Podman does not ask runc for it'
is "$(podman run --rm --cgroups disabled img echo free)" free
END

check 'nothing is left of the runtime' <<'END'
podman rm -fa -t 0
podman pod rm -fa
for root in /run/runc /run/crun /run/mote; do empty "$(ls -A $root 2>/dev/null)"; done
until_true sh -c '! pgrep -x conmon'

lacks "$(find /sys/fs/cgroup -type d)" libpod-
END
