# Limits on cgroup v2: of pods, and of containers that the command line makes.
cg=/sys/fs/cgroup
starts() {
    local c
    for c in web/c own/c bomb/c hog/c; do
        wait_for 60 is $c running || fail "$c is $(state $c)" || return
    done
}
check "containers run" starts
reads() { [ "$(cat $cg/$1)" = "$2" ] || fail "$1 reads $(cat $cg/$1)"; }
own_limits() {
    reads pods/own/c/memory.max 67108864 && reads pods/own/memory.max 67108864 &&
        reads pods/own/c/cpu.max "25000 100000" && reads pods/own/c/memory.oom.group 1 && reads pods/own/pids.max 512
}
check "a manifest's limits are the pod's and the container's" own_limits
default_limits() {
    local total high max all
    total=$(($(awk '/MemTotal/ { print $2 }' /proc/meminfo) * 1024))
    high=$(cat $cg/pods/web/memory.high) max=$(cat $cg/pods/web/memory.max) all=$(cat $cg/pods/memory.max)
    [ $high -lt $max ] && [ $max -lt $all ] && [ $all -lt $total ] || fail "$high $max $all $total" || return
    wait_for 10 grep -qx 1 $cg/init/cgroup.procs || fail "PID 1 is in $(cat /proc/1/cgroup)"
}
check "pods leave memory to the device, and PID 1 is apart" default_limits

# run LIMITS SCRIPT: a container of the command line with these linux.resources.
bundle=/tmp/b
mkdir -p $bundle
container() {
    mote --root /tmp/r delete --force x
    tr -d '\n\t' </var/lib/mote/bundles/probe/config.json | sed "s|\"args\": *\[[^]]*\]|\"args\":[\"/bin/busybox\",\"sh\",\"-c\",\"$2\"]|; s|\"linux\": *{|\"linux\":{\"cgroupsPath\":\"/t/x\",\"resources\":{$1},|; s|\"path\": *\"rootfs\"|\"path\":\"/var/lib/mote/bundles/probe/rootfs\"|" >$bundle/config.json
    mote --root /tmp/r run ${3---detach} --bundle $bundle x </dev/null
}
away() { mote --root /tmp/r delete --force x; }
read_back() {
    container '"memory":{"limit":33554432,"swap":50331648,"reservation":1048576},"cpu":{"shares":1024,"quota":20000,"period":50000,"cpus":"0"},"pids":{"limit":33},"unified":{"memory.high":"30000000"}' '/bin/busybox sleep 1000' || return
    reads t/x/memory.max 33554432 && reads t/x/memory.low 1048576 && reads t/x/memory.high 29999104 &&
        reads t/x/cpu.weight 100 && reads t/x/cpu.max "20000 50000" && reads t/x/cpuset.cpus 0 && reads t/x/pids.max 33 || return
    [ ! -e $cg/t/x/memory.swap.max ] || reads t/x/memory.swap.max 16777216 || return
    mote --root /tmp/r update --memory 64M --cpu-quota -1 x && reads t/x/memory.max 67108864 && reads t/x/cpu.max "max 50000" || return
    mote --root /tmp/r events --stats x | grep -q '"pids":{"current":1,"limit":33}' || fail "$(mote --root /tmp/r events --stats x)" || return
    away
    [ ! -e $cg/t/x ] || fail "the cgroup is still there"
}
check "the kernel has every limit, before and after update" read_back
stands_still() {
    container '"pids":{"limit":9}' 'while :; do :; done' || return
    mote --root /tmp/r pause x && sleep 0.3 || return
    local before=$(grep usage_usec $cg/t/x/cpu.stat)
    sleep 1
    [ "$(grep usage_usec $cg/t/x/cpu.stat)" = "$before" ] || fail "it went on" || return
    mote --root /tmp/r state x | grep -q '"status": "paused"' || fail "$(mote --root /tmp/r state x)" || return
    mote --root /tmp/r resume x && sleep 1
    [ "$(grep usage_usec $cg/t/x/cpu.stat)" != "$before" ] || fail "it stands still" || return
    away
}
check "a paused container stands still" stands_still
hog_ends() {
    container '"memory":{"limit":16777216,"swap":16777216}' '/bin/busybox tail /dev/zero' ""
    [ $? = 137 ] || fail "ended otherwise"
}
check "a memory hog is killed" hog_ends
bomb_stops() {
    container '"pids":{"limit":20}' 'f() { f \& f \& }; f; f; while :; do /bin/busybox sleep 1; done' || return
    sleep 1
    [ "$(cat $cg/t/x/pids.peak 2>/dev/null || cat $cg/t/x/pids.current)" -le 20 ] || fail "$(cat $cg/t/x/pids.current)" || return
    away && [ ! -e $cg/t/x ] || fail "left"
}
check "a fork bomb stops at pids.max and is removed whole" bomb_stops
halves() {
    container '"cpu":{"quota":50000,"period":100000}' 'while :; do :; done' || return
    sleep 1
    local before=$(awk '/^usage_usec/ { print $2 }' $cg/t/x/cpu.stat) began=$(cut -d. -f1 /proc/uptime) b=$(tr -d . </proc/uptime | cut -d' ' -f1)
    sleep 4
    local used=$(($(awk '/^usage_usec/ { print $2 }' $cg/t/x/cpu.stat) - before)) ms=$((($(tr -d . </proc/uptime | cut -d' ' -f1) - b) * 10))
    away
    local permille=$((used / ms))
    [ $permille -ge 425 ] && [ $permille -le 575 ] || fail "$permille permille"
}
check "half a processor is half a processor within 15 percent" halves

# get: hundredths of a second for an answer.
get() {
    local b=$(tr -d . </proc/uptime | cut -d' ' -f1)
    wget -q -O /dev/null http://127.0.0.1:8080/busybox || return
    echo $(($(tr -d . </proc/uptime | cut -d' ' -f1) - b))
}
median() { for i in 1 2 3 4 5 6 7 8 9 10 11; do get || echo 999; done | sort -n | sed -n 6p; }
others_answer() {
    local usual during b took
    usual=$(median)
    wait_for 60 grep -q '^oom_kill [1-9]' $cg/pods/hog/memory.events &
    sleep 8
    during=$(median)
    b=$(tr -d . </proc/uptime | cut -d' ' -f1)
    mote ps >/dev/null
    took=$(($(tr -d . </proc/uptime | cut -d' ' -f1) - b))
    echo "figures: usual $usual, during $during, ps $took (hundredths of a second), pids $(cat $cg/pods/bomb/pids.current)"
    # The time of ps is shown and not judged: under emulation the client alone takes longer than a device's 100 ms.
    [ $during -le $((usual * 2 + 1)) ]
}
wait_for 90 eval '[ "$(cat $cg/pods/bomb/pids.current)" -gt 100 ]'
others_answer >/tmp/figures; ok=$?
cat /tmp/figures
check "the other pod answers in time beside a fork bomb and a memory hog" [ $ok = 0 ]
oom() { [ "$(column hog/c 5)" -ge 1 ] && mote ps | grep -q 'hog/c: out of memory: [0-9]* of its processes killed'; }
seen() { wait_for 90 oom || fail "$(cat $cg/pods/hog/memory.events; cat $cg/pods/hog/memory.current $cg/pods/hog/memory.high)"; }
check "the hog was killed, counted and restarted" seen
mote poweroff
