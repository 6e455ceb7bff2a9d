# Profiles of AppArmor, which Debian's kernel has switched on: one that denies a single file, and one that is not there.
. /test/bundle.sh
mounts=',{"destination":"/dev/shm","type":"tmpfs","source":"shm"}'
look='cat /proc/self/attr/current; (echo >/dev/shm/denied) 2>/dev/null && echo denied is written; echo >/dev/shm/other && echo other is written'
said() { tr -s '\n\0' '  ' <$1; }

load() {
    mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
    cat /test/apparmor/policy >/sys/kernel/security/apparmor/.load && grep -q '^mote-test ' /sys/kernel/security/apparmor/profiles
}
check "a profile is loaded" load
confined() {
    more_process=',"apparmorProfile":"mote-test"'
    container a '' "$look" >/run/said || return
    [ "$(said /run/said)" = "mote-test (enforce) other is written " ] || fail "$(said /run/said)" || return
    more_process=',"apparmorProfile":"unconfined"'
    container a '' "$look" >/run/said || return
    [ "$(said /run/said)" = "unconfined denied is written other is written " ] || fail "$(said /run/said)"
}
check "a container's program is confined by its profile" confined
executed() {
    more_process=',"apparmorProfile":"mote-test"'
    container a '' 'sleep 1000' --detach || return
    mote exec a /bin/busybox sh -c "$look" >/run/said </dev/null || return
    [ "$(said /run/said)" = "mote-test (enforce) other is written " ] || fail "$(said /run/said)" || return
    more_process=
    container b '' 'sleep 1000' --detach || return
    mote exec --apparmor mote-test b /bin/busybox sh -c "$look" >/run/said </dev/null || return
    [ "$(said /run/said)" = "mote-test (enforce) other is written " ] || fail "$(said /run/said)" || return
    away a b
}
check "a process of exec is confined by the container's profile, or by its own" executed
missing() {
    local said
    more_process=',"apparmorProfile":"mote-nosuch"'
    said=$(container a '' 'echo never' 2>&1)
    case $said in
    'mote: process.apparmorProfile "mote-nosuch": write `/proc/thread-self/attr/'*'exec`: no such file or directory') [ ! -e $cg/t/a ] || fail "the cgroup is still there" ;;
    *) fail "$said" ;;
    esac
}
check "a profile that is not there is named, and nothing is left" missing
mote poweroff
