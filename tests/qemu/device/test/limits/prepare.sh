# A pod that answers, one with limits of its own, and two that take whatever they can get once they are told to.
pod() {
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"terminationGracePeriodSeconds\":1,\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"probe\",\"command\":[\"/bin/busybox\",\"sh\",\"-c\",\"$2\"]$3}]}}" >$manifests/$1.json
}
# A page of 8 KB.
mkdir -p /var/lib/mote/bundles/probe/rootfs/www
yes "a line of sixteen" | head -n 455 >/var/lib/mote/bundles/probe/rootfs/www/page
pod web "exec /bin/busybox httpd -f -p 8080 -h /www"
pod own "exec /bin/busybox sleep 100000" ',"resources":{"limits":{"cpu":"250m","memory":"64Mi"}}'
# A shell ends when it cannot fork; this one begins again, so that it stays at its limit, with all its processes busy.
cat >/var/lib/mote/bundles/probe/rootfs/bomb.sh <<'END'
trap 'exec /bin/busybox sh /bomb.sh' EXIT
f() { f & f & while :; do :; done; }
while :; do f & done 2>/dev/null
END
pod bomb "/bin/busybox sleep 30; exec /bin/busybox sh /bomb.sh"
pod hog "/bin/busybox sleep 30; exec /bin/busybox tail /dev/zero"
