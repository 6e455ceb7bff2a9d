# Pods on a bridge, with a port of the device, and what the kernel needs for them in modules that are not loaded.
pod() {
    echo "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"$1\",\"annotations\":{\"mote/network\":\"$2\"}},\"spec\":{\"terminationGracePeriodSeconds\":1,\"containers\":[{\"name\":\"c\",\"image\":\"probe\",\"command\":[\"/bin/busybox\",\"sh\",\"-c\",\"$3\"]$4}]}}" >$manifests/$1.json
}
mkdir -p /var/lib/mote/bundles/probe/rootfs/www
echo "a page of a pod" >/var/lib/mote/bundles/probe/rootfs/www/page
pod web bridge "exec /bin/busybox httpd -f -p 80 -h /www" ',"ports":[{"containerPort":80,"hostPort":8080}]'
pod two bridge "exec /bin/busybox sleep 100000"
pod alone none "exec /bin/busybox sleep 100000"
