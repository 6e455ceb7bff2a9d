# Podman as an ordinary user with sub-ids of its own, as `podman run` without sudo is. What the kernel gives a user on a host
# with cgroup v1 is no limits and no pause; crun is not compared there. No network but the host's and none: slirp4netns is
# another program's test.

USER_ID=4242
export USER_HOME=$WORK/user
mkdir -p $USER_HOME/run $WORK/etc/new $WORK/etc/work
quiet_mount -t overlay -o "lowerdir=/etc,upperdir=$WORK/etc/new,workdir=$WORK/etc/work" overlay /etc
echo "tester:x:$USER_ID:$USER_ID::$USER_HOME:/bin/bash" >>/etc/passwd
printf '%s\n' "tester:x:$USER_ID:" 'helpers:x:4343:tester' >>/etc/group
echo 'tester:200000:65536' | tee /etc/subuid >/etc/subgid
cat >$WORK/containers.conf <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
log_driver = "k8s-file"
[engine]
runtime = "$RUNTIME"
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime_supports_json = ["runc", "crun", "mote"]
infra_command = "/bin/sleep"
[engine.runtimes]
$RUNTIME = ["$RT"]
END
chmod 755 $WORK $WORK/bin
chown -R $USER_ID:$USER_ID $USER_HOME
chmod 700 $USER_HOME/run
# Podman wants / to be shared with what it mounts.
mount --make-rshared /

# podman ARGS...: Podman of the user, whose environment is that of a log-in and no more.
podman() {
    setpriv --reuid tester --regid tester --init-groups env -i -C "$USER_HOME" PATH="$PATH" TERM=xterm HOME="$USER_HOME" USER=tester \
        XDG_RUNTIME_DIR="$USER_HOME/run" CONTAINERS_CONF="$WORK/containers.conf" podman "$@"
}
export -f podman
tar -C $WORK/rootfs -c . | podman import - img >&2 || echo '# podman import failed'

check 'rootless: root inside is the user outside' <<'END'
is "$(podman run --rm img id -u)" 0
maps=$(podman run --rm img cat /proc/self/uid_map | xargs)
is "$maps" "0 4242 1 1 200000 65536"
podman run --rm -v $USER_HOME:/mine img touch /mine/made
is "$(stat -c %u $USER_HOME/made)" 4242
code 1 podman run --rm -v /:/host img touch /host/usr/made
END

check 'rootless: other users inside, keep-id' <<'END'
is "$(podman run --rm --user user img id -G)" '1000 2000'
is "$(podman run --rm --user 1000:5 img sh -c 'id -u; id -g' | xargs)" '1000 5'
is "$(podman run --rm --userns keep-id img id -u)" 4242
END

check 'rootless: a user may open standard output and error anew' <<'END'
is "$(podman run --rm --user 1000:1000 img sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' 2>&1 | sort | xargs)" 'err out'
END

check 'rootless: --group-add keep-groups: what the group may' <<'END'
cannot runc 'Podman asks for it by an annotation of crun'
install -d -m 770 -g helpers $USER_HOME/shared
code 1 podman run --rm -v $USER_HOME/shared:/shared img touch /shared/made
podman run --rm --group-add keep-groups -v $USER_HOME/shared:/shared img touch /shared/made
is "$(stat -c %u:%g $USER_HOME/shared/made)" 4242:4242
END

check 'rootless: run -d, exec, logs, stop, rm' <<'END'
podman run -d --name d1 img sh -c 'echo out; trap "exit 4" TERM; while :; do sleep 0.05; done'
is "$(podman exec d1 echo inside)" inside
is "$(podman exec -u user d1 id -G)" '1000 2000'
code 9 podman exec d1 sh -c 'exit 9'
code 127 podman exec d1 /nosuch
is "$(podman logs d1)" out
podman stop -t 5 d1
is "$(podman inspect -f '{{.State.ExitCode}}' d1)" 4
podman start d1
podman kill d1
is "$(podman wait d1)" 137
podman rm d1
code 1 podman container exists d1
END

check 'rootless: --read-only, --tmpfs, --cap-drop, --privileged' <<'END'
code 1 podman run --rm --read-only img touch /etc/made
podman run --rm --read-only --tmpfs /tmp img touch /tmp/made
has "$(podman run --rm --cap-drop all img grep CapEff /proc/self/status)" 0000000000000000
is "$(podman run --rm --privileged img sh -c 'mount -t tmpfs x /mnt && echo mounted')" mounted
is "$(podman run --rm img sed -n 's/^Seccomp:.//p' /proc/self/status)" 2
END

check 'rootless: --net host and none, --sysctl, --hostname' <<'END'
is "$(podman run --rm --net host img readlink /proc/self/ns/net)" "$(readlink /proc/self/ns/net)"
is "$(podman run --rm img ls /sys/class/net)" lo
is "$(podman run --rm --sysctl kernel.msgmax=9000 --hostname box img sh -c 'cat /proc/sys/kernel/msgmax; hostname' | xargs)" '9000 box'
END

check 'rootless: a pod of two containers' <<'END'
podman pod create --name pair --infra-image img --infra-command '/bin/sleep 1000' --net none
podman run -d --pod pair --name first img sh -c 'echo hello >/dev/shm/word; sleep 100'
until_true podman exec first test -s /dev/shm/word
is "$(podman run --rm --pod pair img cat /dev/shm/word)" hello
podman pod rm -f -t 0 pair
END

check 'rootless: build: RUN in a container' <<'END'
mkdir $USER_HOME/build
printf 'FROM localhost/img\nRUN echo built >/etc/built\nCMD cat /etc/built\n' >$USER_HOME/build/Containerfile
podman build --runtime $RT -q -t built $USER_HOME/build
is "$(podman run --rm built)" built
END

check 'rootless: the error of the runtime reaches the user' <<'END'
code 127 podman run --rm img /nosuch
has "$OUT" /nosuch
code 126 podman run --rm img /bin/not-executable
END

check 'rootless: nothing is left of the runtime' <<'END'
podman rm -f -a -t 0
empty "$(find $USER_HOME/run/$RUNTIME -mindepth 1 2>/dev/null)"
[ ! -e /run/$RUNTIME ]
END
