# A device with two processors and memory near to each: where a container runs, where its memory is taken from, and its share of a
# disk, which one processor of this speed does not keep busy.
. /test/bundle.sh

cpus() {
    local got
    [ $(nproc) = 2 ] || fail "$(nproc) processors" || return
    got="$(container a '"cpu":{"cpus":"1"}' 'sed -n "s/^Cpus_allowed_list:.//p" /proc/self/status; nproc' | tr '\n' ' ')"
    [ "$got" = "1 1 " ] || fail "$got"
}
check "a container is on its processors alone" cpus
# on_node NODE: pages of its own that a container of the first processor has on each of the two nodes.
on_node() {
    container a "\"cpu\":{\"cpus\":\"0\",\"mems\":\"$1\"}" 'x=$(yes | head -c 2000000 | tr "\n" y); cat /proc/$$/numa_maps; :' >/run/numa || return
    awk '/anon=/ { for (i = 1; i <= NF; i++) if (split($i, n, "=") == 2) sum[n[1]] += n[2] } END { print sum["N0"] + 0, sum["N1"] + 0 }' /run/numa
}
mems() {
    local zero one
    zero=$(on_node 0) one=$(on_node 1)
    # 2 MB are 488 pages; a handful of the program's own come from where they lay before.
    [ "${zero% *}" -ge 488 ] && [ "${zero#* }" -le 16 ] && [ "${one#* }" -ge 488 ] && [ "${one% *}" -le 16 ] || fail "$zero and $one pages"
}
check "memory is taken from its nodes alone" mems

. /test/disk.sh
io_weight() {
    /sbin/modprobe bfq && echo bfq >/sys/block/nullb0/queue/scheduler || return
    echo 0 >/sys/block/nullb0/queue/iosched/low_latency
    local entry="{\"major\":$major,\"minor\":$minor,\"weight\":700}"
    container a "$allowed,\"blockIO\":{\"weight\":300,\"weightDevice\":[$entry]}" 'sleep 1000' --detach || return
    [ "$(tr '\n' ' ' <$cg/t/a/io.bfq.weight)" = "default 300 $numbers 700 " ] || fail "$(cat $cg/t/a/io.bfq.weight)" || return
    away a || return
    local reader='while :; do dd if=/dev/disk of=/dev/null bs=4k count=1000 iflag=direct 2>/dev/null; done' a b
    container a "$allowed,\"blockIO\":{\"weight\":800}" "$reader & $reader & $reader" --detach || return
    container b "$allowed,\"blockIO\":{\"weight\":100}" "$reader & $reader & $reader" --detach || return
    sleep 6
    bytes() { sed -n "s/^$numbers .*rbytes=\([0-9]*\).*/\1/p" $cg/t/$1/io.stat; }
    a=$(bytes a) b=$(bytes b)
    away a b
    [ $a -gt $((b * 2)) ] || fail "$a and $b bytes"
}
check "a disk is shared by weight" io_weight
mote poweroff
