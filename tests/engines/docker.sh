# Docker's own daemon with a containerd of its own; the client is Debian's, as the daemon is.

export DOCKER_HOST=unix://$WORK/docker.sock
ln -s /usr/bin/docker $WORK/bin/docker
PATH=$WORK/bin:$PATH
# --oom-score-adjust: the default needs CAP_SYS_RESOURCE.
/usr/sbin/dockerd --host $DOCKER_HOST --data-root /var/lib/docker --exec-root /run/docker --pidfile $WORK/docker.pid \
    --storage-driver overlay2 --add-runtime under-test=$RT --default-runtime under-test --oom-score-adjust 0 \
    --bip 172.30.99.1/24 --userland-proxy=false >$WORK/dockerd.log 2>&1 &
until_true docker version >/dev/null || { echo '# dockerd does not answer'; tail -15 $WORK/dockerd.log >&2; exit 1; }
tar -C $WORK/rootfs -c . | docker import - img >&2 || echo '# docker import failed'

# remove NAME...: at once
remove() { docker rm -f "$@"; }
export -f remove
. "$HERE/both.sh"

check 'info and version: the runtime is known' <<'END'
has "$(docker info)" under-test
is "$(docker info -f '{{.DefaultRuntime}}')" under-test
END

check 'logs -f of a container that goes on' <<'END'
docker run -d --name d2 img sh -c 'echo first; sleep 0.5; echo second'
is "$(docker logs -f d2)" 'first
second'
END

check 'create, start, start again, restart' <<'END'
docker create --name two img sh -c 'echo started'
is "$(docker inspect -f '{{.State.Status}}' two)" created
is "$(docker start -a two)" started
is "$(docker start -a two)" started
docker run -d --name again img sleep 100
before=$(docker inspect -f '{{.State.Pid}}' again)
docker restart -t 0 again
[ "$before" != "$(docker inspect -f '{{.State.Pid}}' again)" ]
END

check '--restart on-failure' <<'END'
docker run -d --name re --restart on-failure:2 img sh -c 'exit 9'
until_true sh -c "[ \$(docker inspect -f '{{.RestartCount}} {{.State.Status}}' re | tr -d ' ') = 2exited ]"
is "$(docker inspect -f '{{.State.ExitCode}}' re)" 9
END

check 'exec: a missing program' <<'END'
docker run -d --name e2 img sleep 100
code 126 docker exec e2 /nosuch || code 127 docker exec e2 /nosuch
has "$OUT" 'o such file or directory'
code 126 docker exec e2 /bin/not-executable
has "$OUT" 'ermission denied'
END

check 'exec: capabilities, filter and limits of the container' <<'END'
docker run -d --name e5 --ulimit nofile=100:200 img sleep 100
has "$(docker exec e5 grep CapEff /proc/self/status)" 00000000a80425fb
is "$(docker exec e5 sed -n 's/^Seccomp:.//p' /proc/self/status)" 2
is "$(docker exec e5 sh -c 'ulimit -n')" 100
is "$(docker exec e5 cat /proc/self/cgroup)" "$(docker exec e5 cat /proc/1/cgroup)"
END

check 'kill: by name and by number; rm -f' <<'END'
docker run -d --name k1 img sh -c 'trap "echo usr1" USR1; trap "echo hup" HUP; echo ready; while :; do sleep 0.05; done'
until_true sh -c 'docker logs k1 | grep -q ready'
docker kill -s USR1 k1
until_true sh -c 'docker logs k1 | grep -q usr1'
docker kill -s 1 k1
until_true sh -c 'docker logs k1 | grep -q hup'
docker kill k1
is "$(docker wait k1)" 137
code 1 docker kill k1
docker run -d --name k2 img sleep 100
docker rm -f k2
END

check 'the bridge network, by the prestart hook' <<'END'
docker run -d --name b1 img sh -c 'while :; do echo from-b1 | nc -l -p 8080; done'
has "$(docker exec b1 ip addr show eth0)" 'inet 172.30.99.'
address=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' b1)
until_true sh -c "[ \"\$(docker run --rm img nc -w 2 $address 8080)\" = from-b1 ]"
has "$(docker run --rm img ip route)" 'default via 172.30.99.1'
END

check 'a network of its own, with names' <<'END'
docker network create --subnet 172.30.98.0/24 net1
docker run -d --name n1 --network net1 img sleep 100
has "$(docker run --rm --network net1 img nslookup n1 2>&1 || true)" 172.30.98.
docker network connect bridge n1
has "$(docker exec n1 ip addr show eth1)" 'inet 172.30.99.'
docker rm -f n1
docker network rm net1
END

check '-p: a published port' <<'END'
docker run -d --name pp -p 18080:8080 img sh -c 'while :; do echo published | nc -l -p 8080; done'
address=$(ip -4 addr show docker0 | sed -n 's/.*inet \([0-9.]*\).*/\1/p')
until_true sh -c "[ \"\$(busybox nc -w 2 $address 18080)\" = published ]"
END

check '--network none, host, container' <<'END'
is "$(docker run --rm --network none img ls /sys/class/net)" lo
is "$(docker run --rm --network host img readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"
docker run -d --name c1 img sleep 100
is "$(docker run --rm --network container:c1 img readlink /proc/self/ns/net)" "$(docker exec c1 readlink /proc/self/ns/net)"
END

check '--pid, --ipc, --uts' <<'END'
is "$(docker run --rm --pid host --ipc host --uts host img sh -c 'for n in pid ipc uts; do readlink /proc/self/ns/$n; done')" "$(readlink /proc/self/ns/pid /proc/self/ns/ipc /proc/self/ns/uts)"
docker run -d --name q1 --ipc shareable img sleep 100
has "$(docker run --rm --pid container:q1 img ps)" 'sleep 100'
is "$(docker run --rm --ipc container:q1 img readlink /proc/self/ns/ipc)" "$(docker exec q1 readlink /proc/self/ns/ipc)"
END

check '--user, --group-add, --workdir, --hostname, --env' <<'END'
is "$(docker run --rm --user 1000:1000 --group-add 5 img sh -c 'id -u; id -g; id -G')" '1000
1000
1000 5'
is "$(docker run --rm --workdir /made/here --hostname box --domainname example.org --env A=b img sh -c 'pwd; hostname; echo $A')" '/made/here
box
b'
END

check 'the default seccomp profile, one of our own, none' <<'END'
is "$(docker run --rm img sed -n 's/^Seccomp:.//p' /proc/self/status)" 2
has "$(docker run --rm --cap-add sys_admin img swapon /etc/text 2>&1 || true)" 'swapon: /etc/text: Operation not permitted'
has "$(docker run --rm --cap-add sys_admin --security-opt seccomp=unconfined img swapon /etc/text 2>&1 || true)" 'swapon: /etc/text: Invalid argument'
is "$(docker run --rm --security-opt seccomp=unconfined img sed -n 's/^Seccomp:.//p' /proc/self/status)" 0
echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' >$WORK/mkdir.json
code 1 docker run --rm --security-opt seccomp=$WORK/mkdir.json img mkdir /tmp/x
has "$OUT" 'No space'
has "$(docker run --rm --security-opt no-new-privileges img grep NoNewPrivs /proc/self/status)" 1
END

check '--read-only, --tmpfs, --shm-size' <<'END'
code 1 docker run --rm --read-only img touch /x
is "$(docker run --rm --read-only --tmpfs /scratch:size=1m,mode=1770 --shm-size 2m img sh -c 'touch /scratch/x && stat -c %a /scratch && df -k /scratch /dev/shm | tail -2 | tr -s " " | cut -d" " -f2')" '1770
1024
2048'
END

check '-v and --mount: directories, files, volumes, propagation' <<'END'
mkdir -p $WORK/volume && echo content >$WORK/volume/file
is "$(docker run --rm -v $WORK/volume:/data img sh -c 'cat /data/file; echo new >/data/made')" content
is "$(cat $WORK/volume/made)" new
code 1 docker run --rm -v $WORK/volume:/data:ro img touch /data/x
is "$(docker run --rm -v $WORK/volume/file:/etc/one:ro img cat /etc/one)" content
docker run --rm -v named:/n img sh -c 'echo kept >/n/f'
is "$(docker run --rm --mount type=volume,source=named,target=/n,readonly img cat /n/f)" kept
mkdir -p $WORK/shared && mount -t tmpfs shared $WORK/shared && mount --make-shared $WORK/shared && mkdir $WORK/shared/late
docker run -d --name v1 -v $WORK/shared:/data:rslave img sleep 100
mount -t tmpfs late $WORK/shared/late && touch $WORK/shared/late/seen
docker exec v1 test -e /data/late/seen
END

check '--device' <<'END'
is "$(docker run --rm --device /dev/fuse:/dev/renamed:r img stat -c '%F %t:%T' /dev/renamed)" 'character special file a:e5'
END

check '--init: a program as PID 1 that reaps' <<'END'
code 3 docker run --rm --init img sh -c 'exit 3'
END

check '--memory: the limit is there and kills' <<'END'
docker run -d --name m1 --memory 32m img sleep 100
is "$(docker exec m1 cat /sys/fs/cgroup/memory/memory.limit_in_bytes)" 33554432
code 137 docker run --name m2 --memory 32m --memory-swap 32m img sh -c 'x=$(head -c 50000000 /dev/zero | tr "\0" x); echo ${#x}'
is "$(docker inspect -f '{{.State.OOMKilled}}' m2)" true
END

check '--pids-limit, --cpus, --cpu-shares, --cpuset-cpus, --blkio-weight' <<'END'
docker run -d --name l1 --pids-limit 10 --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 img sleep 100
is "$(docker exec l1 cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpuset/cpuset.cpus)" '10
50000
512
0'
code 2 docker run --rm --pids-limit 5 img sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait'
END

check '--device rules: what is not allowed is refused' <<'END'
code 1 docker run --rm img sh -c 'mknod /dev/x c 10 229 && cat </dev/x'
code 0 docker run --rm --device-cgroup-rule 'c 10:229 rwm' img sh -c 'mknod /dev/x c 10 229 && exec 3</dev/x'
END

check 'stats' <<'END'
docker run -d --name st --memory 64m img sleep 100
has "$(docker stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' st)" 'st 1 '
has "$(docker stats --no-stream --format '{{.MemUsage}}' st)" '/ 64MiB'
END

check 'update of limits while it runs' <<'END'
docker run -d --name u1 --memory 64m img sleep 100
docker update --memory 32m --memory-swap 64m --cpu-shares 300 --pids-limit 20 u1
is "$(docker exec u1 cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/pids/pids.max)" '33554432
300
20'
END

check '--health-cmd, run by exec' <<'END'
docker run -d --name h1 --health-cmd 'test -e /tmp/well' --health-interval 200ms --health-retries 1 img sleep 100
until_true sh -c "[ \$(docker inspect -f '{{.State.Health.Status}}' h1) = unhealthy ]"
docker exec h1 touch /tmp/well
until_true sh -c "[ \$(docker inspect -f '{{.State.Health.Status}}' h1) = healthy ]"
END

check 'exit codes 125, 126, 127' <<'END'
code 125 docker run --rm --nosuchoption img true
code 126 docker run --rm img /bin/not-executable
code 126 docker run --rm img /etc
code 127 docker run --rm img /nosuch
code 127 docker run --rm img nosuch
END

check 'build: RUN in a container' <<'END'
mkdir -p $WORK/build && printf 'FROM img\nRUN echo built >/tmp/b\nCMD ["cat", "/tmp/b"]\n' >$WORK/build/Dockerfile
DOCKER_BUILDKIT=0 docker build -q -t built $WORK/build
is "$(docker run --rm built)" built
END

check 'nothing is left of the runtime' <<'END'
docker rm -f $(docker ps -aq)
for dir in /run/docker/runtime-runc/moby /run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby; do empty "$(ls -A $dir 2>/dev/null)"; done
until_true sh -c '! pgrep -x containerd-shim'
for group in /sys/fs/cgroup/*/docker; do empty "$(ls -d $group/*/ 2>/dev/null)"; done
END
