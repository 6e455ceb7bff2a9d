# The pods of web.yaml, and one without a network of its own. The kernel has what they need in modules, which nothing loads for now.
echo '{"modules":["brd rd_nr=3 rd_size=64","no-such-module"]}' >/etc/mote/init.json
echo '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"alone"},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"probe","args":["sleep","100000"]}]}}' >$manifests/alone.json
mv /sbin/modprobe /sbin/modprobe.kept
