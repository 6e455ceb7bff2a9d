# A device of four thousandths of a second a request: it and not the processor is to be what is short.
/sbin/modprobe null_blk nr_devices=1 gb=1 submit_queues=1 hw_queue_depth=1 irqmode=2 completion_nsec=4000000
numbers=$(cat /sys/block/nullb0/dev) major=${numbers%:*} minor=${numbers#*:}
device="\"type\":\"b\",\"major\":$major,\"minor\":$minor"
more_linux=",\"devices\":[{\"path\":\"/dev/disk\",$device,\"fileMode\":384}]"
allowed="\"devices\":[{\"allow\":true,$device,\"access\":\"rwm\"}]"
