# What Podman and Docker have in common: $ENGINE is the command. Each sources this once it has an image `img`, and the function
# `remove`, which ends a container at once.

check 'run: output, and the exit code of the program' <<'END'
is "$($ENGINE run --rm img echo hello)" hello
code 7 $ENGINE run --rm img sh -c 'exit 7'
code 137 $ENGINE run --rm img sh -c 'sleep 100 & kill -9 $!; wait $!'
END

check 'run -i: standard input; standard error apart' <<'END'
is "$(echo piped | $ENGINE run --rm -i img cat)" piped
is "$($ENGINE run --rm img sh -c 'echo err >&2' 2>&1 >/dev/null)" err
END

check 'run -d, logs, wait, rm' <<'END'
$ENGINE run -d --name d1 img sh -c 'echo out; echo err >&2; exit 3'
is "$($ENGINE wait d1)" 3
is "$($ENGINE logs d1 2>/dev/null)" out
is "$($ENGINE logs d1 2>&1 >/dev/null)" err
$ENGINE rm d1
empty "$($ENGINE ps -aq --filter name=d1)"
END

check 'run -it: a terminal of the right size' <<'END'
# Docker sets the size once the program runs.
code 5 terminal --send 'for i in 1 2 3 4 5 6 7 8 9; do [ "$(stty size)" = "0 0" ] || break; sleep 0.2; done; stty size; tty; ls -l /dev/console; sleep 0.3; exit 5' $ENGINE run --rm -it img sh
has "$OUT" '33 77'
has "$OUT" /dev/pts/0
has "$OUT" 'crw'
END

check 'exec: output, exit code, environment, directory, user' <<'END'
$ENGINE run -d --name e1 img sleep 100
is "$($ENGINE exec e1 echo inside)" inside
code 9 $ENGINE exec e1 sh -c 'exit 9'
is "$($ENGINE exec -e A=b -w /tmp -u 1000:1000 e1 sh -c 'echo $A $(pwd) $(id -u):$(id -g)')" 'b /tmp 1000:1000'
is "$(echo piped | $ENGINE exec -i e1 cat)" piped
is "$($ENGINE exec -u user e1 id -G)" '1000 2000'
END

check 'exec -d: a process beside the program' <<'END'
$ENGINE run -d --name e3 img sleep 100
$ENGINE exec -d e3 sh -c 'echo done >/tmp/mark; sleep 77'
until_true $ENGINE exec e3 test -s /tmp/mark
until_true sh -c '$ENGINE exec e3 ps | grep "sleep 77"'
has "$($ENGINE top e3)" 'sleep 77'
END

check 'exec -it: a terminal' <<'END'
$ENGINE run -d --name e4 img sleep 100
code 6 terminal --send 'stty size; tty; sleep 0.3; exit 6' $ENGINE exec -it e4 sh
has "$OUT" '33 77'
has "$OUT" /dev/pts/
END

check 'stop: SIGTERM, and SIGKILL when that is ignored' <<'END'
$ENGINE run -d --name s1 img sh -c 'trap "exit 4" TERM; echo ready; while :; do sleep 0.05; done'
$ENGINE run -d --name s2 img sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
for name in s1 s2; do until_true sh -c "$ENGINE logs $name | grep ready"; done
$ENGINE stop -t 30 s1
is "$($ENGINE inspect -f '{{.State.ExitCode}}' s1)" 4
$ENGINE stop -t 1 s2
is "$($ENGINE inspect -f '{{.State.ExitCode}} {{.State.Status}}' s2)" '137 exited'
END

check 'pause and unpause' <<'END'
$ENGINE run -d --name p1 img sh -c 'while :; do echo x >>/tmp/ticks; sleep 0.02; done'
until_true $ENGINE exec p1 test -s /tmp/ticks
$ENGINE pause p1
is "$($ENGINE inspect -f '{{.State.Status}}' p1)" paused
pid=$($ENGINE inspect -f '{{.State.Pid}}' p1)
first=$(wc -c <"/proc/$pid/root/tmp/ticks")
sleep 0.3
is "$(wc -c <"/proc/$pid/root/tmp/ticks")" "$first"
if $ENGINE exec p1 true; then exit 1; fi
$ENGINE unpause p1
is "$($ENGINE inspect -f '{{.State.Status}}' p1)" running
until_true $ENGINE exec p1 sh -c "[ \$(wc -c </tmp/ticks) -gt $first ]"
$ENGINE pause p1
remove p1
END

check '--cap-add, --cap-drop' <<'END'
has "$($ENGINE run --rm --cap-drop all --cap-add chown img grep CapEff /proc/self/status)" 0000000000000001
has "$($ENGINE run --rm --cap-add net_admin img grep CapBnd /proc/self/status)" 00000000a80435fb
has "$($ENGINE run --rm --user 1000 img grep CapEff /proc/self/status)" 0000000000000000
is "$($ENGINE run --rm --cap-add sys_admin --security-opt seccomp=unconfined img sh -c 'mount -t tmpfs x /mnt && echo mounted')" mounted
END

check '--ulimit, --sysctl, --oom-score-adj' <<'END'
is "$($ENGINE run --rm --ulimit nofile=100:200 --ulimit core=0 --ulimit nproc=900:900 img sh -c 'ulimit -n; ulimit -Hn; ulimit -c')" '100
200
0'
is "$($ENGINE run --rm --sysctl net.ipv4.ip_forward=1 --sysctl kernel.msgmax=9000 img cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax)" '1
9000'
is "$($ENGINE run --rm --oom-score-adj 500 img cat /proc/self/oom_score_adj)" 500
END

check 'a user may open standard output and error anew' <<'END'
is "$($ENGINE run --rm --user 1000:1000 img sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' 2>&1 | sort | xargs)" 'err out'
$ENGINE run -d --name anew img sleep 100
is "$($ENGINE exec --user 1000:1000 anew sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' 2>&1 | sort | xargs)" 'err out'
END

check 'programs have every signal at its default action' <<'END'
# But 32 and 33, which the C library keeps for itself: a program that it has started may ignore them, and so runc and crun.
look="sed -n s/^SigIgn:.//p /proc/self/status"
is $((0x$($ENGINE run --rm img $look) & 0x7fffffff)) 0
$ENGINE run -d --name signals img sleep 100
is $((0x$($ENGINE exec signals $look) & 0x7fffffff)) 0
END

check 'limits of memory and processor in the cgroup that the host sees' <<'END'
$ENGINE run -d --name seen1 --memory 64m --memory-reservation 48m --memory-swappiness 10 --cpu-period 50000 --cpu-quota 20000 --cpuset-mems 0 img sleep 100
pid=$($ENGINE inspect -f '{{.State.Pid}}' seen1)
of() { cat "/sys/fs/cgroup/$1$(sed -n "s/^[0-9]*:$1://p" /proc/$pid/cgroup)/$2"; }
is "$(of memory memory.limit_in_bytes) $(of memory memory.soft_limit_in_bytes) $(of memory memory.swappiness)" '67108864 50331648 10'
is "$(of cpu cpu.cfs_period_us) $(of cpu cpu.cfs_quota_us) $(of cpuset cpuset.mems)" '50000 20000 0'
END

check 'the error of the runtime reaches the user' <<'END'
code 127 $ENGINE run --rm img /nosuch
has "$OUT" 'o such file or directory'
code 126 $ENGINE run --rm img /bin/not-executable
has "$OUT" 'ermission denied'
END

check 'cp, diff, commit, export' <<'END'
$ENGINE run -d --name x1 img sleep 100
echo copied >$WORK/copied && $ENGINE cp $WORK/copied x1:/tmp/copied
is "$($ENGINE exec x1 cat /tmp/copied)" copied
has "$($ENGINE diff x1)" /tmp/copied
has "$($ENGINE export x1 | tar -t)" tmp/copied
$ENGINE commit x1 img2
is "$($ENGINE run --rm img2 cat /tmp/copied)" copied
END

check 'attach: what is typed comes to the program' <<'END'
$ENGINE run -d -i --name x2 img sh -c 'read line; echo "got $line"; exit 8'
echo typed | $ENGINE attach x2 || true
is "$($ENGINE wait x2)" 8
has "$($ENGINE logs x2)" 'got typed'
END

check 'no descriptor of the engine is open in a container' <<'END'
is "$($ENGINE run --rm img sh -c 'ls /proc/self/fd | tr "\n" " "')" '0 1 2 3 '
$ENGINE run -d --name fd img sleep 100
is "$($ENGINE exec fd sh -c 'ls /proc/self/fd | tr "\n" " "')" '0 1 2 3 '
END

check 'twenty at once' <<'END'
for n in $(seq 20); do $ENGINE run --rm --name many$n img sh -c "exit $n" & pids="${pids-} $!"; done
n=0
for pid in $pids; do n=$((n + 1)); got=0; wait "$pid" || got=$?; is $got $n; done
END
