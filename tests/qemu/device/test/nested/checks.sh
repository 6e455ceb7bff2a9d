# Roots of subtrees with processes in them, where cgroup v2 lets no controller be switched on until they have moved away.
. /test/bundle.sh
inner=/run/bundle-inner
mkdir -p $inner /test/mote
cp /init /test/mote/mote
# inner PATH RESOURCES SCRIPT: the config.json of a container that mote makes from within another one.
inner() {
    cat >$inner/config.json <<END
{"ociVersion":"1.0.2","process":{"args":["/bin/busybox","sh","-c",$(as_json "$3")],"cwd":"/","env":["PATH=/bin"]},
"root":{"path":"$rootfs","readonly":true},"mounts":[{"destination":"/proc","type":"proc","source":"proc"},$mount_dev],
"linux":{"cgroupsPath":"$1","resources":{$2},"namespaces":[{"type":"mount"},{"type":"pid"}]}}
END
}

# A container with a cgroup namespace, in which mote runs: its root, where the shell is, is the root of what it sees.
nested() {
    inner /inner/x '"memory":{"limit":16777216},"pids":{"limit":7}' 'dd if=/dev/zero of=/dev/null bs=24M count=1 2>/dev/null; echo felt $?; sleep 1000'
    mounts=',{"destination":"/sys","type":"sysfs","source":"sysfs"},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["rw"]}'
    mounts="$mounts,{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"run\"},{\"destination\":\"/tmp\",\"type\":\"bind\",\"source\":\"$inner\",\"options\":[\"bind\"]}"
    mounts="$mounts,{\"destination\":\"/media\",\"type\":\"bind\",\"source\":\"/test/mote\",\"options\":[\"rbind\"]}"
    mounts="$mounts,{\"destination\":\"$rootfs\",\"type\":\"bind\",\"source\":\"$rootfs\",\"options\":[\"rbind\"]}"
    capabilities='"CAP_SYS_ADMIN","CAP_SYS_CHROOT","CAP_MKNOD","CAP_SETUID","CAP_SETGID","CAP_SETPCAP","CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_KILL","CAP_SYS_PTRACE"'
    more_namespaces=',{"type":"cgroup"}'
    container a '"devices":[{"allow":true,"access":"rwm"}],"pids":{"limit":100}' '
        m() { /media/mote --root /run/m "$@"; }
        cd /sys/fs/cgroup
        echo before $(cat /proc/self/cgroup)
        m run --detach --bundle /tmp x </dev/null
        echo after $(cat /proc/self/cgroup)
        echo limits $(cat inner/x/pids.max inner/x/memory.max)
        echo root $(wc -l <cgroup.procs) $(grep -c memory cgroup.subtree_control)
        sleep 5
        m delete --force x
        test -e inner/x || echo gone
        sleep 1000' --detach
    mounts= capabilities= more_namespaces=
    wait_for 30 grep -q gone /run/out-a || fail "$(cat /run/out-a)" || return
    for word in "before 0::/$" "after 0::/init$" "limits 7 16777216$" "root 0 1$" "felt 137$"; do
        grep -q "^$word" /run/out-a || fail "no $word in $(cat /run/out-a)" || return
    done
}
check "mote in a container of mote moves to a leaf of its own" nested
joined() {
    # Its own cgroup has controllers for others and takes no process any more: exec goes to where its first process is.
    [ "$(mote exec a /bin/busybox grep -c . /proc/self/cgroup)" = 1 ] || fail "$(mote exec a /bin/busybox cat /proc/self/cgroup)" || return
    away a
}
check "exec joins it, and it goes with all that was made in it" joined

# A container in a user namespace of its own divides what it has, as systemd does, and cannot have more.
owned() {
    local ids='[{"containerID":0,"hostID":100000,"size":65536}]' word
    more_namespaces=',{"type":"cgroup"},{"type":"network"},{"type":"user"}' more_linux=",\"uidMappings\":$ids,\"gidMappings\":$ids"
    mounts=',{"destination":"/sys","type":"sysfs","source":"sysfs"},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup"}'
    container a '"pids":{"limit":50}' '
        cd /sys/fs/cgroup
        mkdir sub && echo 0 >sub/cgroup.procs && echo +pids >cgroup.subtree_control && echo 7 >sub/pids.max && echo divided
        echo 60 2>&1 >pids.max || echo kept
        sleep 1000' --detach
    wait_for 20 grep -q kept /run/out-a || fail "$(cat /run/out-a)" || return
    grep -qx divided /run/out-a && reads t/a/pids.max 50 && reads t/a/sub/pids.max 7 || fail "$(cat /run/out-a)" || return
    [ "$(stat -c %u $cg/t/a $cg/t/a/cgroup.procs $cg/t/a/pids.max | tr '\n' ' ')" = "100000 100000 0 " ] || fail "$(ls -ln $cg/t/a)" || return
    # Of a namespace that is joined the ids are not known: user 1000 there is nobody's 1000 here.
    more_namespaces=',{"type":"cgroup"},{"type":"network"},{"type":"user","path":"/proc/'$(mote state a | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')'/ns/user"}'
    more_linux= more_process=',"user":{"uid":1000,"gid":1000}'
    container b '"pids":{"limit":50}' 'sleep 1000' --detach && [ "$(stat -c %u $cg/t/b)" = 0 ] || fail "given to $(stat -c %u $cg/t/b)" || return
    more_process=
    away a b || return
    more_namespaces=',{"type":"cgroup"},{"type":"network"},{"type":"user"}' more_linux=",\"uidMappings\":$ids,\"gidMappings\":$ids"
    mounts=',{"destination":"/sys","type":"sysfs","source":"sysfs"},{"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro"]}'
    container a '"pids":{"limit":50}' 'sleep 1000' --detach && [ "$(stat -c %u $cg/t/a)" = 0 ] || fail "given away read-only"
    more_namespaces= more_linux= mounts=
    away a
}
check "a container that may write to its cgroup owns it" owned

# at CGROUP COMMAND...: runs it in that cgroup. Not a function: a shell in the background would hold what a check prints into.
cat >/run/at <<'END'
echo $$ >/sys/fs/cgroup/$1/cgroup.procs && shift && exec "$@"
END
at="sh /run/at"
delegated() {
    mkdir -p $cg/d && /test/delegate $cg/d || return
    $at d sleep 1000 >/dev/null 2>&1 &
    wait_for 5 grep -q . $cg/d/cgroup.procs
    inner /d/x '"memory":{"limit":16777216},"pids":{"limit":7}' 'sleep 1000'
    $at d /init run --detach --bundle $inner x </dev/null >/run/out-x 2>&1 || fail "$(cat /run/out-x)" || return
    reads d/x/pids.max 7 && reads d/x/memory.max 16777216 || return
    [ -z "$(cat $cg/d/cgroup.procs)" ] && grep -q . $cg/d/init/cgroup.procs || fail "in d $(cat $cg/d/cgroup.procs)" || return
    mote delete --force x
    [ ! -e $cg/d/x ] || fail "still there"
}
check "in a delegated cgroup the processes beside mote move to a leaf" delegated
stranger() {
    mkdir -p $cg/e || return
    $at e sleep 1000 >/dev/null 2>&1 &
    wait_for 5 grep -q . $cg/e/cgroup.procs
    local there=$(cat $cg/e/cgroup.procs) said
    inner /e/x '"pids":{"limit":7}' 'sleep 1000'
    said=$(mote run --bundle $inner x </dev/null 2>&1)
    case $said in
    *'linux.resources.pids.limit: write "7" to /sys/fs/cgroup/e/x/pids.max: '*) ;;
    *) fail "$said" || return ;;
    esac
    [ "$(cat $cg/e/cgroup.procs)" = "$there" ] && [ ! -e $cg/e/x ] && [ ! -e $cg/e/init ] || fail "$(ls $cg/e)"
}
check "a stranger's processes stay where they are" stranger
mote poweroff
