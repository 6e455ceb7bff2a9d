# Labels of SELinux, which is asked for on the kernel command line and permissive, with a policy of three types.
. /test/bundle.sh
label=system_u:system_r:container_t:s0
file=system_u:object_r:container_file_t:s0:c0,c1
current() { tr -d '\n\0' <$1; }

load() {
    mount -t selinuxfs selinuxfs /sys/fs/selinux 2>/dev/null
    cat /test/selinux/policy >/sys/fs/selinux/load && [ "$(cat /sys/fs/selinux/policyvers)" -ge 30 ]
}
check "a policy is loaded" load
labelled() {
    more_process=",\"selinuxLabel\":\"$label\"" more_linux=",\"mountLabel\":\"$file\""
    container a '' 'cat /proc/self/attr/current; echo; cat /proc/self/mountinfo' >/run/said || return
    [ "$(head -n 1 /run/said | tr -d '\0')" = "$label" ] || fail "$(head -n 1 /run/said)" || return
    grep -q " /dev .* tmpfs .*context=\"\?$file\"\?" /run/said || fail "$(cat /run/said)"
}
check "a container's program and its mounts have their labels" labelled
executed() {
    more_process=",\"selinuxLabel\":\"$label\""
    container a '' 'sleep 1000' --detach || return
    mote exec a /bin/busybox cat /proc/self/attr/current >/run/said </dev/null || return
    [ "$(current /run/said)" = $label ] || fail "$(current /run/said)" || return
    more_process=
    container b '' 'sleep 1000' --detach || return
    mote exec --process-label $label:c1 b /bin/busybox cat /proc/self/attr/current >/run/said </dev/null || return
    [ "$(current /run/said)" = $label:c1 ] || fail "$(current /run/said)" || return
    away a b
}
check "a process of exec has the container's label, or its own" executed
wrong() {
    local said
    more_process=',"selinuxLabel":"nobody:knows:this:s0"'
    said=$(container a '' 'echo never' 2>&1)
    case $said in
    'mote: process.selinuxLabel "nobody:knows:this:s0": write `/proc/thread-self/attr/keycreate`: invalid argument') ;;
    *) fail "$said" || return ;;
    esac
    more_process= more_linux=',"mountLabel":"nobody:knows:this:s0"'
    said=$(container a '' 'echo never' 2>&1)
    case $said in
    'mote: mounts['*'invalid argument') [ ! -e $cg/t/a ] || fail "the cgroup is still there" ;;
    *) fail "$said" ;;
    esac
}
check "a label that the policy does not know is named, and nothing is left" wrong
mote poweroff
