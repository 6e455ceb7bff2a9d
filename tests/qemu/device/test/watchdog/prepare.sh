rm -f /etc/mote/manifests/*
echo '{"modules": ["softdog"], "watchdog": 3600}' >/etc/mote/init.json
