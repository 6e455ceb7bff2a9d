# The life of pods: started, restarted, logged, and taken down.

starts() {
    local c
    for c in pair/first pair/second host/c stubborn/c; do
        wait_for 60 is $c running || fail "$c is $(state $c)" || return
    done
}
check "containers run" starts

one_net() {
    local a b own
    a=$(readlink /proc/$(pid pair/first)/ns/net)
    b=$(readlink /proc/$(pid pair/second)/ns/net)
    own=$(readlink /proc/1/ns/net)
    [ "$a" = "$b" ] && [ "$a" != "$own" ] && [ "$(column pair/first 7)" = "$a" ] || fail "$a $b $own"
}
check "a pod has one network namespace" one_net
pinned() {
    nsenter --net=/run/mote/netns/pair ifconfig lo | grep -q 'UP LOOPBACK' || fail "lo is down"
    [ "$(stat -c %i /run/mote/netns/pair)" = "$(readlink /proc/$(pid pair/first)/ns/net | tr -dc 0-9)" ] || fail "another namespace"
}
check "the pin can be joined and lo is up" pinned
host_net() { [ "$(readlink /proc/$(pid host/c)/ns/net)" = "$(readlink /proc/1/ns/net)" ]; }
check "a hostNetwork pod is in the device's" host_net
process() {
    tr '\0' '\n' </proc/$(pid pair/second)/environ | grep -qx COLOR=blue || fail "environment" || return
    [ "$(readlink /proc/$(pid pair/second)/cwd)" = /tmp ] || fail "cwd" || return
    [ "$(tr '\0' ' ' </proc/$(pid pair/second)/cmdline)" = "/bin/busybox sleep 100000 " ] || fail "cmdline" || return
    [ "$(cat /proc/$(pid pair/second)/oom_score_adj)" = 0 ] || fail "oom_score_adj" || return
    [ "$(nsenter -t $(pid pair/second) -u hostname)" = pair ] || fail "hostname" || return
    grep -q '^SigBlk:.0000000000000000$' /proc/$(pid pair/second)/status || fail "signals are blocked"
}
check "command, env, workingDir, hostname are the manifest's" process

# An attacker with CAP_SYS_ADMIN joins its own mount namespace again, to end up in what its root is mounted on.
stays_inside() {
    local root
    root=$(nsenter --mount=/proc/$(pid pair/second)/ns/mnt /bin/busybox ls /) || return
    case " "$(echo $root)" " in *" test "* | *" init "*) fail "$root" ;; esac
}
check "a container's mount namespace has no way out" stays_inside

failed() {
    local listing line
    listing=$(mote ps)
    while read -r line; do
        echo "$listing" | grep -qF "$line" || fail "no: $line" || return
    done <<END
bad-truncated: bad-truncated.json: line 
bad-utf8: bad-utf8.json: line 1 column 16: not UTF-8
bad-deep: bad-deep.json: line 1 column 95: nested more than 32 deep
bad-big: bad-big.json: the document: larger than 256 KiB
bad-fifo: bad-fifo.json: the document: not a regular file
bad-directory: bad-directory.json: the document: not a regular file
bad-field: bad-field.json: spec.securityContext.seLinuxOptions: mote lacks this field
bad-name: bad-name.json: spec.containers[0].name: expected 1 to 63 of a-z
bad-escape: bad-escape.json: spec.containers[0].name: expected 1 to 63 of a-z
bad-link: open(/etc/mote/manifests/bad-link.json): no such file or directory
zz-again: zz-again.json: metadata.name: pair.json has the same name
nobundle/c: open(/var/lib/mote/bundles/missing/config.json): no such file or directory
END
}
check "wrong manifests are listed with the reason" failed

ended() {
    wait_for 30 is job/c "done(code-3)" || fail "job is $(state job/c)" || return
    wait_for 30 is good/c "done(code-0)" || fail "good is $(state good/c)"
}
check "restartPolicy Never and OnFailure are kept" ended

again() { [ "$(column crash/c 5)" -ge 3 ]; }
backs_off() {
    wait_for 30 is crash/c "backoff(code-7)" || fail "$(state crash/c)" || return
    wait_for 30 again || fail "no restart"
}
check "a crashing container is restarted with back-off" backs_off

restarts() {
    local before
    before=$(pid pair/second)
    kill -9 $before
    # From one listing: between two it may go from running to starting.
    other() { row pair/second | awk -v before=$before '{ exit !($3 == "running" && $4 != before && $5 == 1) }'; }
    wait_for 20 other || fail "not restarted: $(row pair/second)" || return
    one_net || return
    kill -9 $(pid pair/second)
    wait_for 5 is pair/second "backoff(signal-9)" || fail "$(state pair/second)" || return
    wait_for 20 is pair/second running || fail "$(state pair/second)"
}
check "a killed container is back, at once and then later" restarts

cri() {
    local log=/var/log/pods/job/c/0.log time='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z'
    wait_for 5 grep -q newline $log || fail "$(cat $log)" || return
    grep -Eqx "$time stdout F out" $log && grep -Eqx "$time stderr F err" $log && grep -Eqx "$time stdout F no newline" $log || fail "$(cat $log)" || return
    [ "$(mote logs job/c | sort | tr '\n' ,)" = "err,no newline,out," ] || fail "$(mote logs job/c)" || return
    [ "$(mote logs --tail 1 job/c)" != "" ] && ! mote logs ../../etc/x 2>/dev/null && ! mote logs pair/none 2>/dev/null
}
check "logs are in CRI format" cri

writer() { pidof mote-logs || ps -o pid,comm | awk '$2 == "mote-logs" { print $1 }'; }
log_writer() {
    local before container last
    before=$(writer)
    container=$(pid pair/first)
    [ -n "$before" ] || fail "no log writer" || return
    kill -9 $before
    wait_for 10 sh -c "[ -n \"\$(ps -o pid,comm | awk '\$2 == \"mote-logs\" && \$1 != $before')\" ]" || fail "no other" || return
    sleep 1
    [ "$(pid pair/first)" = "$container" ] || fail "the container was restarted" || return
    # Every tick stands once, in order.
    last=$(mote logs pair/first | sed -n 's/^tick //p' | awk '$1 != n { print "gap at", n; exit } { n++ }')
    [ -z "$last" ] || fail "$last"
}
check "a log writer that is killed loses nothing" log_writer

orphans() {
    sh -c '(sleep 0.3; exit 1) & (sleep 0.2) & exit 0'
    sleep 1
    ! ps -o pid,ppid,stat,comm | awk '$3 ~ /^Z/ { print; found = 1 } END { exit !found }'
}
check "orphans are reaped" orphans

crowd_of_clients() {
    local i pids=
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
        mote ps >/tmp/ps.$i 2>&1 &
        pids="$pids $!"
    done
    wait $pids
    # More than the board allows at a time are told so; none is left without an answer.
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do grep -Eq '^PID 1|too many clients' /tmp/ps.$i || fail "$(cat /tmp/ps.$i)" || return; done
}
check "clients at the same time are all answered" crowd_of_clients

# What tests/qemu/clients.c does, then a client while all places are held by some that ask and never read, or never ask.
answers() { mote ps >/run/answer 2>&1 && grep -q '^PID 1: ' /run/answer; }
hostile() {
    local fds begin took pid
    answers || return
    fds=$(ls /proc/1/fd | wc -l)
    chmod 755 /run/mote && chmod 666 /run/mote/control.sock || return
    /test/clients all || fail "see above"
    local status=$?
    chmod 700 /run/mote && chmod 600 /run/mote/control.sock && [ $status = 0 ] || return
    answers || fail "no answer: $(cat /run/answer)" || return
    mkfifo /run/held
    /test/clients hold 12 30 >/run/held &
    pid=$!
    grep -q -m 1 held </run/held
    begin=$(cut -d. -f1 </proc/uptime)
    ! answers || fail "a place was left" || return
    wait_for 15 answers || fail "no answer while they hold on: $(cat /run/answer)" || return
    took=$(($(cut -d. -f1 </proc/uptime) - begin))
    [ $took -le 7 ] || fail "an answer after $took s" || return
    kill $pid
    # A starter at work has two.
    wait_for 10 eval '[ $(ls /proc/1/fd | wc -l) -le $fds ]' || fail "$fds descriptors have become $(ls /proc/1/fd | wc -l)" || return
    [ "$(dmesg | grep -c 'mote: control: uid 1000 pid [0-9]* turned away')" -ge 1 ] || fail "nothing is said of them" || return
    [ "$(dmesg | grep -c 'turned away')" -le 4 ] || fail "too much is said of them"
}
check "hostile clients take nothing, and others are answered" hostile

settings() {
    [ "$(hostname)" = device-7 ] || fail "$(hostname)" || return
    [ "$(cat /proc/sys/kernel/panic_on_oops)" = 1 ] || fail "sysctl" || return
    [ "$(cat /proc/sys/vm/watermark_boost_factor)" = 7 ] || fail "not left as the command line has it" || return
    grep -q 0::/init /proc/1/cgroup || fail "$(cat /proc/1/cgroup)" || return
    [ "$(cat /proc/1/oom_score_adj)" = -1000 ] || fail "oom_score_adj" || return
    ifconfig lo | grep -q 'UP LOOPBACK' || fail "lo is down" || return
    dmesg | grep -q 'mote: mote.nonsense: not a key that mote knows' || fail "no warning"
}
check "the command line's settings hold" settings

bounds() {
    local line
    line=$(mote ps | tail -n 1)
    echo "$line" | sed 's/[^0-9]\+/ /g' | {
        read -r _ resident anonymous allocations _
        # The demo's two containers stay within 600 and 100. Here are six more, which may add 4 KB each, and eleven wrong manifests.
        [ "$resident" -le 640 ] && [ "$anonymous" -le 124 ] && [ "$allocations" = 0 ]
    } || fail "$line"
}
check "PID 1 stays within its bounds" bounds
mote ps | tail -n 1
mote poweroff
