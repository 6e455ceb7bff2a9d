# A watchdog of 10 s; $END says how the device ends.
wd=/sys/class/watchdog/watchdog0
armed() {
    [ "$(cat $wd/state) $(cat $wd/timeout)" = "active 10" ] || fail "$(cat $wd/state $wd/timeout; dmesg | grep -i watchdog)"
}
check "the watchdog is armed with the timeout of the command line" armed
# By now the device would have been restarted, as the one is that hangs.
fed() { sleep 15; }
check "PID 1 feeds it" fed
if [ "$END" = hang ]; then
    echo "PID 1 hangs from here"
    echo 1 >/sys/fs/cgroup/init/cgroup.freeze
fi
mote poweroff
