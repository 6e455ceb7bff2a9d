"""A writer of newc cpio archives, the format of an initramfs (Linux: driver-api/early-userspace/buffer-format).

It needs no root, so an archive can hold device nodes, and it writes the same bytes for the same content: entries are
sorted, times are 0, owners are given.
"""

import os
import stat


class Archive:
    """Entries by their path, without the leading slash; missing parent directories are added as root's, 0755."""

    def __init__(self):
        self.entries = {}

    def _add(self, path, mode, data=b"", device=(0, 0)):
        path = path.strip("/")
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.directory(parent)
        self.entries[path] = mode, data, device

    def directory(self, path, mode=0o755):
        self._add(path, stat.S_IFDIR | mode)

    def file(self, path, data, mode=0o644):
        self._add(path, stat.S_IFREG | mode, data)

    def symlink(self, path, target):
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, path, major, minor, mode=0o600):
        self._add(path, stat.S_IFCHR | mode, device=(major, minor))

    def tree(self, source, path=""):
        """Everything below the directory `source`, at `path`; the modes are kept, the owner is root."""
        for name in sorted(os.listdir(source)):
            inside, target = f"{source}/{name}", f"{path}/{name}"
            mode = os.lstat(inside).st_mode
            if stat.S_ISLNK(mode):
                self.symlink(target, os.readlink(inside))
            elif stat.S_ISDIR(mode):
                self.directory(target, stat.S_IMODE(mode))
                self.tree(inside, target)
            elif stat.S_ISREG(mode):
                with open(inside, "rb") as file:
                    self.file(target, file.read(), stat.S_IMODE(mode))
            else:
                raise ValueError(f"{inside}: neither a file, a directory nor a symbolic link")

    def write(self, output):
        """Writes the archive to a binary file. A parent sorts before what is in it, as the kernel needs it."""
        for inode, path in enumerate(sorted(self.entries), start=1):
            output.write(_entry(inode, path, *self.entries[path]))
        output.write(_entry(0, "TRAILER!!!", 0, b"", (0, 0)))


def _entry(inode, path, mode, data, device):
    name = path.encode() + b"\0"
    uid = gid = mtime = check = device_of_file = 0
    links = 1
    fields = (inode, mode, uid, gid, links, mtime, len(data), device_of_file, device_of_file, *device, len(name), check)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(data)


def _padded(data):
    return data + bytes(-len(data) % 4)
