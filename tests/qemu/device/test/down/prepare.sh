# Without a console: the kernel has opened nothing for PID 1, and there is no node in the initramfs.
rm /dev/console
exec <&- >&- 2>&-
