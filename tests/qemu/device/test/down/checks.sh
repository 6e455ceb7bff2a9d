# PID 1 is told by a signal, $SIGNAL, to go down. It was started without a console.
standard() {
    local fd
    for fd in 0 1 2; do
        [ "$(readlink /proc/1/fd/$fd)" = /dev/console ] || fail "$fd is $(readlink /proc/1/fd/$fd)" || return
    done
}
check "the console is opened where the kernel has not" standard
runs() { wait_for 60 is one/c running || fail "$(state one/c)"; }
check "a container runs" runs
nothing() {
    kill -HUP 1
    kill -WINCH 1
    wait_for 5 sh -c "dmesg | grep -q 'signal 1 from pid'" || fail "not told" || return
    is one/c running
}
check "another signal changes nothing" nothing
kill -$SIGNAL 1
