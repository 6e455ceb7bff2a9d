# Mounts of init.json on a disk, and bundles on it that nobody can write to.
mounted() { grep -qE "$1" /proc/1/mountinfo || fail "$(cat /proc/1/mountinfo)"; }
all() {
    mounted ' / /disk rw,noatime .*- ext4 /dev/vda rw.*errors=remount-ro' || return
    mounted ' /bundles /var/lib/mote/bundles ro,nodev,noatime .*- ext4 /dev/vda rw' || return
    mounted ' /manifests /etc/mote/manifests rw' || return
    mounted ' / /data/deep rw,relatime shared:.* - tmpfs data rw.*size=1024k,mode=750'
}
check "what init.json lists is mounted, from a disk that came late" all
said() { dmesg | grep -q "$1" || fail "$(dmesg | grep mote:)"; }
wrong() {
    said 'mote: init.json: mounts\[1\].destination: expected an absolute path' || return
    said 'mote: mounts: mount(none on /no/such type no-such-type): No such device; going on without it' && ! mounted /no/such >/dev/null
}
check "what cannot be mounted is said and left out" wrong

# The manifest is the disk's.
refused() {
    wait_for 60 sh -c "/init ps | grep -q 'load the module overlay'" || fail "$(mote ps)" || return
    mote ps | grep 'root.path: "/var/lib/mote/bundles/probe/rootfs" is read-only' || fail "$(mote ps)"
}
check "without overlayfs a container that is to write is refused" refused
runs() {
    mv /kept/modprobe /sbin/modprobe
    wait_for 60 is disk/writer running && wait_for 60 sh -c "/init logs disk/writer | grep -q written" || fail "$(mote ps)"
}
check "with it the container is started" runs
layer() {
    local root=/proc/$(pid disk/writer)/root
    [ "$(cat $root/new)" = written ] && [ ! -e $root/etc/mark ] || fail "$(ls $root $root/etc)" || return
    [ ! -e /disk/bundles/probe/rootfs/new ] && [ -e /disk/bundles/probe/rootfs/etc/mark ] || fail "$(ls /disk/bundles/probe/rootfs)" || return
    ! grep overlay /proc/1/mountinfo || fail "the overlay shows outside" || return
    grep -q ' / / rw,nodev,relatime - overlay ' /proc/$(pid disk/writer)/mountinfo || fail "$(cat /proc/$(pid disk/writer)/mountinfo)"
}
check "what it writes is in memory, and the bundle as it was" layer
fresh() {
    local before=$(pid disk/writer)
    kill -9 $before
    wait_for 60 sh -c "/init ps | grep -q 'writer *running' && [ \$(/init logs disk/writer | grep -c fresh) = 2 ]" || fail "$(mote ps; mote logs disk/writer)"
}
check "a restart begins with the bundle" fresh
echo kept >/disk/kept
mote poweroff
