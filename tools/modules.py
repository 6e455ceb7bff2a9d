"""Modules of a Debian kernel for an image: some by name, all that they depend on, and the lists that modprobe(8) reads.

A package has the modules and says which are built in; dependencies and aliases stand in each module (section .modinfo), from
which depmod(8) would make the lists once the package is installed.
"""

import os
import struct
import sys

from debian import unpack


def collect(package, unpacked, version, names):
    """The files to put below lib/modules/VERSION: path to bytes. `package` is the kernel's .deb, `unpacked` where its files go."""
    root = f"lib/modules/{version}"
    lists = [f"{root}/modules.{name}" for name in ("order", "builtin")]
    fetch(package, unpacked, lists)
    paths, builtin = [by_name(f"{unpacked}/{path}") for path in lists]

    found, wanted = {}, [plain(name) for name in names]
    while wanted:
        missing = [name for name in wanted if name not in paths and name not in builtin]
        if missing:
            sys.exit(f"the kernel {version} has no module {', '.join(missing)}")
        wanted = [name for name in dict.fromkeys(wanted) if name in paths and name not in found]
        fetch(package, unpacked, [f"{root}/{paths[name]}" for name in wanted])
        for name in wanted:
            with open(f"{unpacked}/{root}/{paths[name]}", "rb") as file:
                found[name] = file.read()
        wanted = [need for name in wanted for need in needs(found[name])]

    files, dep, alias = {}, "", ""
    for name, data in sorted(found.items()):
        files[paths[name]] = data
        # The one that is to be loaded first is the last, as depmod(8) has it.
        first = [paths[need] for need in reversed(order(found, name)) if need != name]
        dep += f"{paths[name]}: {' '.join(first)}".strip() + "\n"
        alias += "".join(f"alias {pattern} {name}\n" for pattern in info(data, "alias"))
    with open(f"{unpacked}/{lists[1]}", "rb") as file:
        files["modules.builtin"] = file.read()
    files["modules.dep"], files["modules.alias"] = dep.encode(), alias.encode()
    return files


def order(modules, name):
    """The module and all it depends on, in the order in which they can be loaded."""
    first = [each for need in needs(modules[name]) if need in modules for each in order(modules, need)]
    return list(dict.fromkeys([*first, name]))


def needs(module):
    return [plain(need) for value in info(module, "depends") for need in value.split(",") if need]


def fetch(package, unpacked, paths):
    """Unpacks what is not there yet."""
    missing = [path for path in paths if not os.path.exists(f"{unpacked}/{path}")]
    if missing:
        unpack(package, unpacked, only=missing)


def plain(name):
    return name.strip().replace("-", "_")


def by_name(path):
    """The files of a list, such as kernel/net/bridge/bridge.ko, by the names of the modules."""
    with open(path) as lines:
        return {plain(os.path.splitext(os.path.basename(line))[0]): line.strip() for line in lines}


def info(module, key):
    """The values of `key` in the section .modinfo of a 64-bit little-endian module."""
    (start,) = struct.unpack_from("<Q", module, 0x28)
    size, count, names = struct.unpack_from("<HHH", module, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", module, start + size * i) for i in range(count)]
    strings = sections[names][4]
    for name, _, _, _, offset, length in sections:
        if module[strings + name :].startswith(b".modinfo\0"):
            entries = module[offset : offset + length].decode("utf-8", "replace").split("\0")
            yield from (value for found, _, value in (entry.partition("=") for entry in entries) if found == key)

