# Every action of linux.seccomp, seen from inside a container on this kernel; /test/probe is tests/seccomp/probe.c.
case $(uname -m) in
aarch64) getppid=173 ;;
*) getppid=110 ;;
esac
bundle=/run/bundle
mkdir -p $bundle/rootfs/proc $bundle/rootfs/dev
cp /test/probe $bundle/rootfs/probe

# run ACTION MORE WORD...: runs the probe with these words where getppid gets this action.
run() {
    local action=$1 more=$2 args word
    shift 2
    args='"/probe"'
    for word in "$@"; do args="$args,\"$word\""; done
    cat >$bundle/config.json <<END
{"ociVersion":"1.0.2","process":{"args":[$args],"cwd":"/","noNewPrivileges":true},"root":{"path":"rootfs"},
"mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}],"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/listener",
"syscalls":[{"names":["getppid"],"action":"$action"$more}]}}}
END
    mote run --bundle $bundle seccomp-test 2>&1
}
# says EXPECTED ACTION MORE WORD...
says() {
    local expected=$1 output
    shift
    output=$(run "$@")
    [ "$output" = "$expected" ] || fail "$output instead of $expected"
}
check "allow" says 0 SCMP_ACT_ALLOW "" call $getppid
check "log" says 0 SCMP_ACT_LOG "" call $getppid
check "errno" says "errno 77" SCMP_ACT_ERRNO ',"errnoRet":77' call $getppid
check "trap" says "trapped $getppid" SCMP_ACT_TRAP "" call $getppid
check "trace without a tracer" says "errno 38" SCMP_ACT_TRACE "" call $getppid
check "trace" says "told 1234" SCMP_ACT_TRACE ',"errnoRet":1234' traced $getppid
check "kill thread" says "the first lives" SCMP_ACT_KILL_THREAD "" thread $getppid
check "kill" says "the first lives" SCMP_ACT_KILL "" thread $getppid
killed() {
    local status=0
    run SCMP_ACT_KILL_PROCESS "" thread $getppid || status=$?
    [ $status = 159 ] || fail "status $status"
}
check "kill process" killed
argument() {
    local more=',"errnoRet":5,"args":[{"index":2,"value":4294967298,"op":"SCMP_CMP_GE"}]'
    says "errno 5" SCMP_ACT_ERRNO "$more" call $getppid 0 0 4294967298 || return
    says 0 SCMP_ACT_ERRNO "$more" call $getppid 0 0 4294967297
}
check "64-bit arguments" argument
notify() {
    /test/probe listen /run/listener 1 >/run/answer 2>&1 &
    wait_for 10 test -S /run/listener || fail "nobody listens" || return
    says 42 SCMP_ACT_NOTIFY "" call $getppid 41 || fail "$(cat /run/answer)" || return
    wait
    grep -q "^call $getppid 41$" /run/answer && grep -q '"fds":\["seccompFd"\]' /run/answer || fail "$(cat /run/answer)"
}
check "a listener answers" notify

# mode POD/CONTAINER: its seccomp mode, proc_pid_status(5).
mode() { sed -n 's/^Seccomp:.\([0-9]*\)$/\1/p' /proc/$(pid $1)/status; }
default() {
    wait_for 60 is default/held running || fail "not running" || return
    wait_for 60 is default/free running || fail "not running" || return
    [ "$(mode default/held)$(mode default/free)" = 20 ] || fail "$(mode default/held) $(mode default/free)"
}
check "RuntimeDefault holds and Unconfined does not" default
mote poweroff
