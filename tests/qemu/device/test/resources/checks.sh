# Every limit of linux.resources on cgroup v2: what the kernel reads back, and what a container feels.
. /test/bundle.sh

read_back() {
    container a '"memory":{"limit":33554432,"swap":50331648,"reservation":1048576},"cpu":{"shares":1024,"quota":20000,"period":50000,"burst":5000,"cpus":"0","mems":"0"},"pids":{"limit":33},"unified":{"memory.high":"30000000","memory.oom.group":"1"}' 'sleep 1000' --detach || return
    reads t/a/memory.max 33554432 && reads t/a/memory.low 1048576 && reads t/a/memory.high 29999104 &&
        reads t/a/memory.oom.group 1 && reads t/a/memory.swap.max 16777216 && reads t/a/cpu.weight 100 &&
        reads t/a/cpu.max "20000 50000" && reads t/a/cpu.max.burst 5000 && reads t/a/cpuset.cpus 0 &&
        reads t/a/cpuset.mems 0 && reads t/a/pids.max 33 || return
    mote update --memory 64M --memory-swap 64M --cpu-burst 0 a && mote update --cpu-quota -1 --pids-limit -1 a &&
        reads t/a/memory.max 67108864 && reads t/a/memory.swap.max 0 && reads t/a/cpu.max "max 50000" &&
        reads t/a/pids.max max && reads t/a/cpu.max.burst 0 || return
    mote update --cpu-idle 1 a && reads t/a/cpu.idle 1 || return
    mote update --memory -1 --memory-swap 64M a && reads t/a/memory.max max && reads t/a/memory.swap.max 67108864 || return
    away a
}
check "the kernel has every limit, before and after update" read_back

events() {
    container a '"pids":{"limit":33}' 'sleep 1000' --detach || return
    mote events --stats a >/run/events
    local word
    for word in '"pids":{"current":1,"limit":33}' '"psi":{"some":{"avg10":' '"full":{"avg10":'; do
        grep -q "$word" /run/events || fail "no $word in $(cat /run/events)" || return
    done
    [ $(grep -o '"psi":' /run/events | wc -l) = 3 ] || fail "$(cat /run/events)" || return
    away a
}
check "events --stats has what the kernel counts, pressure included" events

# What takes that many megabytes of memory at once, and what came of it.
takes() { container a "$1" "dd if=/dev/zero of=/dev/null bs=${2}M count=1 2>/dev/null; echo \$?" | tail -1; }
memory() {
    local got
    got="$(takes '"memory":{"limit":16777216,"swap":16777216}' 8) $(takes '"memory":{"limit":16777216,"swap":16777216}' 24)"
    [ "$got" = "0 137" ] || fail "$got"
}
check "a memory hog is killed" memory
swap() {
    /sbin/modprobe brd rd_nr=1 rd_size=49152 && mkswap /dev/ram0 >/dev/null && swapon /dev/ram0 || return
    local got
    got="$(takes '"memory":{"limit":16777216,"swap":16777216}' 24) $(takes '"memory":{"limit":16777216,"swap":50331648}' 24)"
    got="$got $(takes '"memory":{"limit":16777216,"swap":20971520}' 24)"
    [ "$got" = "137 0 137" ] || fail "$got"
}
check "swap is what lies between both limits" swap

# keeps RESERVATION: the kilobytes of an idle container that stay in memory when another one needs it.
keeps() {
    echo 50331648 >$cg/t/memory.max
    # The first dd ends, the second one waits with its 20 MB in its hands.
    container a "\"memory\":{\"reservation\":$1}" '{ dd if=/dev/zero bs=20M count=1; exec sleep 1000; } | dd bs=20M iflag=fullblock of=/dev/null' --detach || return
    wait_for 20 eval '[ $(cat $cg/t/a/memory.current) -gt 20000000 ]' && sleep 2 || return
    container b '"pids":{"limit":9}' 'dd if=/dev/zero of=/dev/null bs=36M count=2' 2>/dev/null
    echo $(($(cat $cg/t/a/memory.current) >> 10))
    echo max >$cg/t/memory.max
    away a b >/dev/null 2>&1
}
reservation() {
    local without with
    without=$(keeps 4096)
    with=$(keeps 22000000)
    [ $without -lt 16000 ] && [ $with -gt 18000 ] || fail "without $without, with $with"
}
check "a reservation stays when others need memory" reservation

bomb_stops() {
    container a '"pids":{"limit":20}' 'f() { f & f & }; f; f; while :; do sleep 1; done' --detach || return
    sleep 1
    [ $(cat $cg/t/a/pids.current) -le 20 ] && [ "$(value t/a/pids.events max)" -ge 1 ] || fail "$(cat $cg/t/a/pids.current)" || return
    away a
}
check "a fork bomb stops at pids.max and is removed whole" bomb_stops

busy='while :; do :; done'
# shares: thousandths of the processor that the container $1 takes within $2 seconds, the one $3 beside it.
share() {
    local a b took
    a=$(value t/$1/cpu.stat usage_usec) b=$(now)
    sleep $2
    a=$(($(value t/$1/cpu.stat usage_usec) - a)) took=$((($(now) - b) * 10))
    echo $((a / took))
}
quota() {
    container a '"cpu":{"quota":50000,"period":100000}' "$busy" --detach || return
    local permille
    sleep 1
    permille=$(share a 4)
    away a && [ $permille -ge 425 ] && [ $permille -le 575 ] || fail "$permille permille"
}
check "half a processor is half a processor within 15 percent" quota

# ratio: how much more the container a gets than b, in hundredths, both on one processor.
ratio() {
    container a "\"cpu\":{$1\"cpus\":\"0\"}" "$busy" --detach && container b "\"cpu\":{$2\"cpus\":\"0\"}" "$busy" --detach || return
    sleep 1
    local a b
    a=$(value t/a/cpu.stat usage_usec) b=$(value t/b/cpu.stat usage_usec)
    sleep 4
    echo $((($(value t/a/cpu.stat usage_usec) - a) * 100 / ($(value t/b/cpu.stat usage_usec) - b + 1)))
    away a b
}
weight() {
    # 4096 shares are a weight of 318, 1024 one of 100.
    local got
    got=$(ratio '"shares":4096,' '"shares":1024,')
    [ $got -ge 254 ] && [ $got -le 382 ] || fail "a ratio of $got percent instead of 318"
}
check "processor time is shared by weight" weight
idle() {
    local got
    got=$(ratio '' '"idle":1,')
    [ $got -ge 1500 ] || fail "a ratio of $got percent"
}
check "an idle container has what others leave" idle
# bursts BURST: how often a container that needs 30 ms every half second was let through.
bursts() {
    container a "\"cpu\":{\"quota\":20000,\"period\":100000$1}" 'while :; do sleep 0.5; n=0; while [ $n -lt 1500 ]; do n=$((n+1)); done; done' --detach || return
    sleep 5
    value t/a/cpu.stat nr_bursts
    away a
}
burst() {
    local with without
    with=$(bursts ',"burst":20000') without=$(bursts '')
    [ "$with" -gt 0 ] && [ "$without" = 0 ] || fail "with $with, without $without"
}
check "what was saved up can be spent in a burst" burst

. /test/disk.sh
# took BLOCKIO COMMAND: hundredths of a second.
took() {
    local b=$(now)
    container a "$allowed$1" "$2 2>/dev/null" || { echo "failed"; return; }
    echo $(($(now) - b))
}
# throttled LIST RATE FILE COMMAND: the command takes two seconds with the limit, and much less without.
throttled() {
    local with without
    container a "$allowed,\"blockIO\":{\"$1\":[{\"major\":$major,\"minor\":$minor,\"rate\":$2}]}" 'sleep 1000' --detach || return
    grep -q "^$numbers .*$3=$2" $cg/t/a/io.max || fail "io.max reads $(cat $cg/t/a/io.max)" || return
    away a || return
    without=$(took '' "$4")
    with=$(took ",\"blockIO\":{\"$1\":[{\"major\":$major,\"minor\":$minor,\"rate\":$2}]}" "$4")
    [ $with -ge 170 ] && [ $with -le 600 ] && [ $without -lt 140 ] || fail "with $with, without $without hundredths of a second"
}
check "reads are limited in bytes" throttled throttleReadBpsDevice 1048576 rbps "dd if=/dev/disk of=/dev/null bs=64k count=32 iflag=direct"
check "writes are limited in bytes" throttled throttleWriteBpsDevice 1048576 wbps "dd of=/dev/disk if=/dev/zero bs=64k count=32 oflag=direct"
check "reads are limited in number" throttled throttleReadIOPSDevice 50 riops "dd if=/dev/disk of=/dev/null bs=4k count=100 iflag=direct"
check "writes are limited in number" throttled throttleWriteIOPSDevice 50 wiops "dd of=/dev/disk if=/dev/zero bs=4k count=100 oflag=direct"
cost_weight() {
    container a '"blockIO":{"weight":500}' 'sleep 1000' --detach && reads t/a/io.weight "default 4950" && away a
}
check "without BFQ a weight is the cost model's" cost_weight
more_linux=

huge() {
    [ -e $cg/cgroup.controllers ] && grep -q hugetlb $cg/cgroup.controllers || fail "no hugetlb" || return
    mounts=',{"destination":"/mnt","type":"hugetlbfs","source":"huge"}'
    container a '"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]' 'fallocate -l 4194304 /mnt/a && echo one; fallocate -l 2097152 /mnt/b || echo two; sleep 1000' --detach || return
    reads t/a/hugetlb.2MB.max 4194304 && reads t/a/hugetlb.2MB.rsvd.max 4194304 || return
    wait_for 10 grep -q two /run/out-a
    [ "$(grep -v fallocate /run/out-a | tr '\n' ' ')" = "one two " ] && reads t/a/hugetlb.2MB.current 4194304 || fail "$(cat /run/out-a)" || return
    mounts=
    away a
}
check "huge pages are limited" huge

# There is no RDMA device to limit.
rdma() {
    local said
    said=$(container a '"rdma":{"mlx5_0":{"hcaHandles":3,"hcaObjects":4}}' 'echo never' 2>&1)
    case $said in
    *'linux.resources.rdma["mlx5_0"]: write "mlx5_0 hca_handle=3 hca_object=4" to /sys/fs/cgroup/t/a/rdma.max: No such device'*) ;;
    *) fail "$said" || return ;;
    esac
    [ ! -e $cg/t/a ] || fail "the cgroup is still there"
}
check "a missing RDMA device is named, with the file and the value" rdma

devices() {
    capabilities='"CAP_MKNOD","CAP_SYSLOG"'
    local rules got=
    for rules in '{"allow":false,"access":"rwm"}' '{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"r"}'; do
        got="$got$(container a "\"devices\":[$rules]" 'mknod /dev/k c 1 11; (: </dev/k) 2>/dev/null && echo -n "read "; (: >/dev/k) 2>/dev/null && echo -n "written "; (: </dev/null) && echo "."')"
    done
    capabilities=
    [ "$got" = ".read ." ] || fail "$got"
}
check "a denied device cannot be opened" devices

high() {
    container a '"unified":{"memory.high":"8388608"}' 'dd if=/dev/zero of=/dev/null bs=12M count=1; sleep 1000' --detach || return
    wait_for 10 eval '[ "$(value t/a/memory.events high)" -gt 0 ]' || fail "$(cat $cg/t/a/memory.events)" || return
    away a
}
check "a file of unified is felt" high

stands_still() {
    container a '"pids":{"limit":9}' "$busy" --detach || return
    mote pause a && sleep 0.3 || return
    local before=$(value t/a/cpu.stat usage_usec)
    sleep 1
    [ "$(value t/a/cpu.stat usage_usec)" = "$before" ] || fail "it went on" || return
    mote state a | grep -q '"status": "paused"' || fail "$(mote state a)" || return
    mote resume a && sleep 1
    [ "$(value t/a/cpu.stat usage_usec)" != "$before" ] || fail "it stands still" || return
    away a
}
check "a paused counter stands still" stands_still

# refused RESOURCES WORDS...: one line with all of the words, and nothing is left.
refused() {
    local resources=$1 said word
    shift
    said=$(container r "$resources" 'echo never' 2>&1)
    [ "$(echo "$said" | wc -l)" = 1 ] || fail "more than a line: $said" || return
    for word in "$@"; do
        case $said in
        *"$word"*) ;;
        *) fail "no $word in: $said" || return ;;
        esac
    done
    [ ! -e $cg/t/r ] && [ ! -e /run/mote/r ] || fail "something is left after: $said"
}
bad_limits() {
    local at=/sys/fs/cgroup/t/r
    refused '"memory":{"limit":-2}' linux.resources.memory.limit '-1 for no limit' &&
        refused '"memory":{"limit":2097152,"swap":1048576}' linux.resources.memory.swap 'includes memory.limit' &&
        refused '"memory":{"swappiness":10}' linux.resources.memory.swappiness 'cgroup v2' &&
        refused '"cpu":{"cpus":"4095"}' 'linux.resources.cpu.cpus: write "4095"' $at/cpuset.cpus: &&
        refused '"cpu":{"mems":"7"}' 'linux.resources.cpu.mems: write "7"' $at/cpuset.mems: &&
        refused '"cpu":{"quota":1}' 'linux.resources.cpu.quota: write "1"' $at/cpu.max: &&
        refused '"cpu":{"realtimeRuntime":5}' linux.resources.cpu.realtimeRuntime 'cgroup v2' &&
        refused '"pids":{"limit":-7}' linux.resources.pids.limit '-1 for no limit' &&
        refused '"blockIO":{"weight":5}' linux.resources.blockIO.weight '10 to 1000' &&
        refused '"blockIO":{"throttleReadBpsDevice":[{"major":4095,"minor":1,"rate":5}]}' \
            'linux.resources.blockIO.throttleReadBpsDevice[0]: write "4095:1 rbps=5"' $at/io.max: &&
        refused '"hugepageLimits":[{"pageSize":"4MB","limit":1}]' 'linux.resources.hugepageLimits[0]' $at/hugetlb.4MB &&
        refused '"network":{"classID":7}' linux.resources.network.classID 'no cgroup controller net_cls' &&
        refused '"unified":{"../x.y":"1"}' 'linux.resources.unified["../x.y"]' 'the name of a file' &&
        refused '"unified":{"nope.max":"1"}' 'linux.resources.unified["nope.max"]: write "1"' $at/nope.max: &&
        refused '"unified":{"memory.max":"much"}' 'linux.resources.unified["memory.max"]: write "much"' $at/memory.max: &&
        refused '"unified":{"cgroup.procs":"1"}' 'linux.resources.unified["cgroup.procs"]' "the runtime's own"
}
check "what cgroup v2 does not take is named with the file and the value, and nothing is left" bad_limits

bad_places() {
    local said
    mkdir $cg/t/r
    sleep 1000 &
    echo $! >$cg/t/r/cgroup.procs
    said=$(container r '"pids":{"limit":9}' 'echo never' 2>&1)
    [ "$said" = "mote: $cg/t/r/cgroup.procs: reads $!, expected an empty cgroup that is not frozen" ] && kill -0 $! || fail "$said" || return
    kill -9 $! && wait $!
    echo 1 >$cg/t/r/cgroup.freeze
    said=$(container r '"pids":{"limit":9}' 'echo never' 2>&1)
    [ "$said" = "mote: $cg/t/r/cgroup.freeze: reads 1, expected an empty cgroup that is not frozen" ] && reads t/r/cgroup.freeze 1 || fail "$said" || return
    rmdir $cg/t/r
    container r '"pids":{"limit":9}' true || return
    sed -i 's|"cgroupsPath":"/t/r"|"cgroupsPath":"/t/../../r"|' /run/bundle-r/config.json
    said=$(mote run --bundle /run/bundle-r r 2>&1 </dev/null)
    case $said in
    *linux.cgroupsPath*) [ ! -e /run/mote/r ] || fail "something is left" ;;
    *) fail "$said" ;;
    esac
}
check "a cgroup that is not empty, or frozen, or climbs out is refused and left as it is" bad_places
mote poweroff
