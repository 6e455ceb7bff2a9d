# Containers of the command line, for checks: what is to be in config.json is given piece by piece.
cg=/sys/fs/cgroup
rootfs=/var/lib/mote/bundles/probe/rootfs
mounts= capabilities= more_process= more_linux= more_namespaces=
mount_dev='{"destination":"/dev","type":"tmpfs","source":"dev","options":["mode=755"]}'

# as_json TEXT: a JSON string.
as_json() { printf '"%s"' "$(printf %s "$1" | sed 's/\\/\\\\/g; s/"/\\"/g' | awk 'NR > 1 { printf "%s", "\\n" } { printf "%s", $0 }')"; }

# container ID RESOURCES SCRIPT [--detach]: runs a shell script with these linux.resources in the cgroup /t/ID; what a detached one
# prints goes to /run/out-ID. $mounts, $capabilities, $more_process, $more_namespaces and $more_linux are added. One of that name that a check has left goes first.
container() {
    local bundle=/run/bundle-$1
    mote delete --force $1
    mkdir -p $bundle
    cat >$bundle/config.json <<END
{"ociVersion":"1.0.2","process":{"args":["/bin/busybox","sh","-c",$(as_json "$3")],"cwd":"/","env":["PATH=/bin"],
"capabilities":{"bounding":[$capabilities],"effective":[$capabilities],"permitted":[$capabilities]}$more_process},
"root":{"path":"$rootfs","readonly":true},"mounts":[{"destination":"/proc","type":"proc","source":"proc"},$mount_dev$mounts],
"linux":{"cgroupsPath":"/t/$1","resources":{$2},"namespaces":[{"type":"mount"},{"type":"pid"}$more_namespaces]$more_linux}}
END
    if [ -z "$4" ]; then
        mote run --bundle $bundle $1 </dev/null
    else
        mote run $4 --bundle $bundle $1 </dev/null >/run/out-$1 2>&1 || fail "$(cat /run/out-$1)"
    fi
}
away() {
    local id
    for id in "$@"; do mote delete --force $id; done
    for id in "$@"; do [ ! -e $cg/t/$id ] || fail "the cgroup of $id is still there" || return; done
}
reads() { [ "$(cat $cg/$1)" = "$2" ] || fail "$1 reads $(cat $cg/$1) instead of $2"; }
# value FILE NAME: the number behind NAME.
value() { awk -v name="$2" '$1 == name { print $2 }' $cg/$1; }
# hundredths of a second
now() { tr -d . </proc/uptime | cut -d' ' -f1; }
