# A disk that comes late: its driver is loaded when PID 1 already waits for it. The kernel finds no modprobe for the overlay.
rm -f /etc/mote/manifests/*
cat >/etc/mote/init.json <<'END'
{"modules": ["virtio_pci"], "mounts": [
  {"destination": "/disk", "type": "ext4", "source": "/dev/vda", "options": ["noatime", "errors=remount-ro"]},
  {"destination": "relative", "type": "tmpfs"},
  {"destination": "/var/lib/mote/bundles", "source": "/disk/bundles", "options": ["bind", "ro", "nodev"]},
  {"destination": "/no/such", "type": "no-such-type", "source": "none"},
  {"destination": "/etc/mote/manifests", "type": "bind", "source": "/disk/manifests"},
  {"destination": "/data/deep", "type": "tmpfs", "source": "data", "options": ["size=1m", "mode=0750", "shared"]}
]}
END
mkdir /kept
mv /sbin/modprobe /kept/modprobe
(sleep 3; /kept/modprobe virtio_blk) &
