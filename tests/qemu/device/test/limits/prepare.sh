# A pod that answers and says what it needs for that, one with limits of its own, and two that take whatever they can get once they are told to.
pod() {
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"terminationGracePeriodSeconds\":1,\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"probe\",\"command\":[\"/bin/busybox\",\"sh\",\"-c\",\"$2\"]$3}]}}" >$manifests/$1.json
}
# Pages of 8 KB, 64 KB and 2 MB.
www=/var/lib/mote/bundles/probe/rootfs/www
mkdir -p $www
yes "sixteen letters" | head -c 8192 >$www/small
yes "sixteen letters" | head -c 65536 >$www/middle
yes "sixteen letters" | head -c 2097152 >$www/large
pod web "exec /bin/busybox httpd -f -p 8080 -h /www" ',"resources":{"requests":{"cpu":"250m"}}'
pod own "exec /bin/busybox sleep 100000" ',"resources":{"limits":{"cpu":"250m","memory":"64Mi"}}'
# A shell ends when it cannot fork; this one begins again, so that it stays at its limit, with all its processes busy.
cat >/var/lib/mote/bundles/probe/rootfs/bomb.sh <<'END'
trap 'exec /bin/busybox sh /bomb.sh' EXIT
f() { f & f & while :; do :; done; }
while :; do f & done 2>/dev/null
END
pod bomb "/bin/busybox sleep 30; exec /bin/busybox sh /bomb.sh"
pod hog "/bin/busybox sleep 30; exec /bin/busybox tail /dev/zero"
