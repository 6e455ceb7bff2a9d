# As many pods as the board allows, and one more.
running() { [ "$(mote ps | grep -c ' running ')" = "$1" ]; }
all_run() { wait_for 120 running 64 || fail "$(mote ps | grep -c ' running ') run"; }
check "64 pods run" all_run
# However many were started at once.
limited() {
    local pod
    for pod in /sys/fs/cgroup/pods/*/; do
        [ "$(cat $pod/pids.max)" = 512 ] && [ "$(cat $pod/cpu.weight)" = 1 ] && [ "$(cat $pod/memory.max)" != max ] ||
            fail "$pod: $(cat $pod/pids.max $pod/cpu.weight $pod/memory.max)" || return
    done
    [ "$(ls -d /sys/fs/cgroup/pods/*/ | wc -l)" = 64 ] || fail "$(ls /sys/fs/cgroup/pods)"
}
check "every pod has its limits" limited
one_more() { dmesg | grep -q 'mote: pod p65.json is not run: p65.json: the document: this board allows 64 pods'; }
check "the 65th is refused by words" one_more
restarted_once() { [ "$(mote ps | awk '$5 == 1' | grep -c running)" = 64 ]; }
die() {
    local i
    for i in $(mote ps | awk '$3 == "running" { print $4 }'); do kill -9 $i; done
    wait_for 5 mote ps >/dev/null || fail "no answer" || return
    # Killed is not ended: pods get their turn on the processor after this shell, so the first listings may still be from before.
    wait_for 120 restarted_once || fail "restarts" || return
    all_run
    [ "$(ps -o stat | grep -c '^Z')" = 0 ] || fail "zombies"
}
check "64 containers dying at once are all restarted" die
mote ps | tail -n 1
bounds() {
    local line
    line=$(mote ps | tail -n 1)
    echo "$line" | sed 's/[^0-9]\+/ /g' | {
        read -r _ resident anonymous allocations _
        [ "$resident" -le 900 ] && [ "$anonymous" -le 356 ] && [ "$allocations" = 0 ]
    } || fail "$line"
}
check "PID 1 grows by at most 4 KB for each" bounds
kill -TERM 1
