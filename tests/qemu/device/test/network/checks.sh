# Pods on the network of a device: without a part of the kernel, with all of it, and after one is gone.

lacking() { mote ps | grep -q "web.*bridge mote0: .*CONFIG_BRIDGE"; }
named() {
    wait_for 30 lacking || fail "it is not named" || return
    is alone/c running || fail "another pod is held up"
}
check "what the kernel lacks is named, and others run" named

load() {
    local module
    for module in llc stp bridge veth libcrc32c nfnetlink nf_defrag_ipv4 nf_defrag_ipv6 nf_conntrack nf_nat nf_tables \
        nft_chain_nat nft_nat nft_masq nft_ct nft_fib nft_fib_ipv4; do
        # Some are in one kernel and not in the other.
        [ ! -e /lib/modules/$module.ko ] || insmod /lib/modules/$module.ko || return
    done
    wait_for 90 is web/c running && wait_for 30 is two/c running
}
check "with the modules loaded they come up by themselves" load

page() { printf 'GET /page HTTP/1.0\r\n\r\n' | nc -w 5 "$@" | grep -q "a page of a pod"; }
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
check "a pod on the bridge is reached from the device, by its port, and from a pod" reached

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
    rm /etc/mote/manifests/two.json
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
