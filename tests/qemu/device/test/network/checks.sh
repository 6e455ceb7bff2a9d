# Pods on the network of a device: without a part of the kernel, with all of it, and after one is gone.

of_the_boot() {
    [ -b /dev/ram2 ] && [ "$(cat /sys/block/ram2/size)" = 128 ] || fail "$(ls /sys/block)" || return
    dmesg | grep "mote: modules: load(no-such-module): " | grep -q "going on without it" || fail "nothing is said"
}
check "the modules of init.json are loaded with their parameters, and one that is missing is named" of_the_boot

lacking() { mote ps | grep -q "web.*bridge mote0: .*CONFIG_BRIDGE"; }
named() {
    wait_for 30 lacking || fail "it is not named" || return
    is alone/c running || fail "another pod is held up"
}
check "what the kernel lacks is named, and others run" named

loaded() {
    mv /sbin/modprobe.kept /sbin/modprobe
    wait_for 90 is web/c running && wait_for 30 is two/c running || return
    /sbin/modprobe -q -- rtnl-link-veth && /sbin/modprobe bridge && /sbin/modprobe ext4 || fail "modprobe" || return
    ! /sbin/modprobe -q nothing || fail "what is not there is loaded" || return
    ! /sbin/modprobe --remove bridge || fail "an option that it lacks"
}
check "the kernel loads its modules by mote, and they come up by themselves" loaded

page() { printf 'GET /page HTTP/1.0\r\n\r\n' | nc -w 5 "$@" | grep -q "a page of 007 is yes"; }
inside() {
    local pod=$1
    shift
    nsenter --net=/run/mote/netns/$pod "$@"
}
reached() {
    local address
    address=$(inside web ip -4 -o addr show eth0 | sed 's/.*inet \([0-9.]*\).*/\1/')
    case $address in 10.190.0.*) ;; *) fail "address $address" || return ;; esac
    wait_for 10 page $address 80 || fail "from the device" || return
    page 127.0.0.1 8080 || fail "by the port of the device" || return
    inside two ping -c 1 -W 5 $address >/dev/null || fail "from another pod" || return
    inside alone ip link | grep -q eth0 && fail "the other one has a network" || true
}
check "a pod written in YAML is reached from the device, by its port, and from a pod" reached

again() {
    local before
    before=$(inside web ip link show eth0)
    [ -n "$before" ] || fail "no interface" || return
    kill -9 $(pid web/c)
    sleep 1
    wait_for 30 is web/c running || return
    [ "$(inside web ip link show eth0)" = "$before" ] || fail "another interface" || return
    wait_for 10 page 127.0.0.1 8080
}
check "a restart changes nothing" again

forgotten() { [ ! -e /run/mote/netns/two ] && [ ! -e /run/mote/network/two ]; }
removed() {
    rm /etc/mote/manifests/web-2.json
    wait_for 30 forgotten || fail "something of it is left" || return
    [ "$(ip -o link | grep -c ': mv')" = 1 ] || fail "$(ip link)"
}
check "a pod that is removed takes its interface along" removed

bounds() {
    local line
    line=$(mote ps | grep "^PID 1: ")
    echo "$line" | grep -q " 0 allocations since the boot" || fail "$line"
}
check "PID 1 has allocated nothing" bounds

mote poweroff
