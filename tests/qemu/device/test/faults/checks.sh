# What goes wrong around PID 1: bundles, the log writer, the disk under the logs.
runs() { wait_for 60 is flood/c running || fail "flood is $(state flood/c)"; }
check "a container runs beside them" runs

bundles() {
    local listing line
    listing=$(mote ps)
    while read -r line; do
        echo "$listing" | grep -qF "$line" || fail "no: $line" || return
    done <<END
b-truncated/c: /var/lib/mote/bundles/b-truncated/config.json: line 
b-utf8/c: /var/lib/mote/bundles/b-utf8/config.json: line 1 column 16: not UTF-8
b-deep/c: /var/lib/mote/bundles/b-deep/config.json: line 1 column 58: nested more than 32 deep
b-big/c: /var/lib/mote/bundles/b-big/config.json: the file: larger than 1 MiB
b-directory/c: /var/lib/mote/bundles/b-directory/config.json: the file: expected a regular file
b-norootfs/c: /var/lib/mote/bundles/b-norootfs/config.json: root.path: "/var/lib/mote/bundles/b-norootfs/rootfs": no such file
b-link/c: /var/lib/mote/bundles/b-link/config.json: root.path: "/var/lib/mote/bundles/b-link/rootfs": expected a directory, not a symlink
END
    for line in truncated utf8 deep big directory norootfs link; do
        case $(state b-$line/c) in backoff | starting) ;; *) fail "b-$line: $(state b-$line/c)" || return ;; esac
    done
}
check "wrong bundles fail with the reason, alone" bundles

writer() { pidof mote-logs || ps -o pid,comm | awk '$2 == "mote-logs" { print $1 }'; }

# What a writer has taken in and not written is still in the pipe for the next one, so no line is missing; one may stand twice.
flood() {
    local i gap
    for i in 1 2 3 4; do
        kill -9 $(writer)
        sleep 1.5
    done
    wait_for 10 writer >/dev/null || fail "no log writer" || return
    gap=$(mote logs flood/c | awk '$1 == "line" { if (n != "" && $2 > n + 1) { print "gap after", n, "before", $2; exit } n = $2 } END { if (n + 0 < 1000) print "only", n }')
    [ -z "$gap" ] || fail "$gap"
}
check "a log writer that is killed in a flood loses no line" flood

# The container goes on while its log cannot be written, and the log says afterwards how much is missing.
full_disk() {
    local dir=/var/log/pods/flood/c before
    mount -t tmpfs -o size=16k tmpfs $dir
    kill -9 $(writer)
    sleep 2
    before=$(counter)
    sleep 1
    [ "$(counter)" -gt "$before" ] || fail "the container waits for its log" || return
    mote ps | grep -q '^flood' || fail "no answer" || return
    is flood/c running || fail "$(state flood/c)" || return
    mount -o remount,size=4m $dir
    wait_for 10 grep -q 'stderr F mote: [0-9]* lines dropped here' $dir/0.log || fail "$(tail -n 3 $dir/0.log)"
}
# The file is empty for a moment whenever the container writes it.
counter() { wait_for 5 grep . /proc/$(pid flood/c)/root/dev/shm/n; }
check "a full log disk holds no container up" full_disk
mote poweroff
