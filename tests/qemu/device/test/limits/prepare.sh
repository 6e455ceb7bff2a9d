# A pod that answers, one with limits of its own, and two that take whatever they can get once they are told to.
pod() {
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\"},\"spec\":{\"terminationGracePeriodSeconds\":1,\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"probe\",\"command\":[\"/bin/busybox\",\"sh\",\"-c\",\"$2\"]$3}]}}" >$manifests/$1.json
}
pod web "exec /bin/busybox httpd -f -p 8080 -h /bin"
pod own "exec /bin/busybox sleep 100000" ',"resources":{"limits":{"cpu":"250m","memory":"64Mi"}}'
pod bomb "/bin/busybox sleep 70; f() { f & f & }; f; f; while :; do /bin/busybox sleep 1; done"
pod hog "/bin/busybox sleep 75; exec /bin/busybox tail /dev/zero"
