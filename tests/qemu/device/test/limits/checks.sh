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
        reads pods/own/c/cpu.max "25000 100000" && reads pods/own/c/memory.oom.group 1 && reads pods/own/pids.max 512 &&
        reads pods/own/cpu.weight 10 && reads pods/web/cpu.weight 10 && reads pods/bomb/cpu.weight 1
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

# Hundredths of a second since the boot, to $now; without a process of its own, whose start would count.
now() {
    read -r now _ </proc/uptime
    now=${now%.*}${now#*.}
}
# median COMMAND...: the middle of eleven times in hundredths of a second; 999 for one that failed.
median() {
    local began
    for i in 1 2 3 4 5 6 7 8 9 10 11; do
        now
        began=$now
        "$@" >/dev/null 2>&1 || began=$((now - 999))
        now
        echo $((now - began))
    done | sort -n | sed -n 6p
}
# Four times a page of 8 KB or 64 KB, as the clock is coarse, and once one of 2 MB.
get() { wget -q -O /dev/null http://127.0.0.1:8080/$1; }
small() { get small && get small && get small && get small; }
middle() { get middle && get middle && get middle && get middle; }
large() { get large; }
bombed() { [ "$(cat $cg/pods/bomb/pids.current)" -ge 500 ] || fail "the bomb has $(cat $cg/pods/bomb/pids.current) processes"; }
# Milliseconds of processor time of a pod.
used() { echo $(($(awk '$1 == "usage_usec" { print $2 }' $cg/pods/$1/cpu.stat) / 1000)); }

usual_small=$(median small) usual_middle=$(median middle) usual_large=$(median large) usual_ps=$(median mote ps)
check "a pod answers" [ $((usual_small + usual_middle + usual_large)) -lt 500 ]
wait_for 120 bombed >/dev/null
check "the fork bomb is at its limit" bombed
grows() { [ $(cat $cg/pods/hog/memory.current) -gt 20000000 ]; }
check "the hog is at work" wait_for 60 grows
during_ps=$(median mote ps)
check "the fork bomb is still at its limit" wait_for 20 bombed
web=$(used web) bomb=$(used bomb) hog=$(used hog)
during_small=$(median small) during_middle=$(median middle) during_large=$(median large)
echo "figures: ms of a processor meanwhile: web $(($(used web) - web)), bomb $(($(used bomb) - bomb)), hog $(($(used hog) - hog))"
check "and it stays there" wait_for 20 bombed
echo "figures: usual and during, in hundredths of a second: 4 of 8 KB $usual_small $during_small, 4 of 64 KB $usual_middle $during_middle, 2 MB $usual_large $during_large, mote ps $usual_ps $during_ps"
answers() {
    [ $during_small -lt $((usual_small * 2)) ] && [ $during_middle -lt $((usual_middle * 2)) ] &&
        [ $during_large -lt $((usual_large * 2)) ]
}
check "the other pod answers in less than twice its usual time" answers
check "PID 1 answers within 100 ms" [ $during_ps -le 10 ]
oom() { [ "$(column hog/c 5)" -ge 1 ] && mote ps | grep -q 'hog/c: out of memory: [0-9]* of its processes killed'; }
seen() { wait_for 90 oom || fail "$(cat $cg/pods/hog/memory.events; cat $cg/pods/hog/memory.current $cg/pods/hog/memory.high)"; }
check "the hog was killed, counted and restarted" seen
# The kernel would have said so without the words "Memory cgroup", and might have killed something else.
by_limit() { dmesg | grep -q 'Memory cgroup out of memory: ' && ! dmesg | grep ' Out of memory: '; }
check "by a limit, while there was memory left" by_limit
mote poweroff
