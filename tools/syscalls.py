#!/usr/bin/env python3
"""Writes src/seccomp/names.tsv: the names of all system calls and their numbers by architecture.

Where they come from: the tables of the `syscalls` crate in the version of Cargo.lock (generated from the kernel's own),
and Debian's kernel headers for what the crate has not: x32 (linux-libc-dev) and arm's private calls
(linux-libc-dev-armhf-cross, unpacked by dpkg and not installed). Run it after a new version of the crate.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

COLUMNS = ["x86_64", "x86", "x32", "aarch64", "arm", "riscv64"]
X32_HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_x32.h"
# Newer than that header and marked "64", not "common", in the kernel's arch/x86/entry/syscalls/syscall_64.tbl.
NOT_X32 = {"map_shadow_stack"}
ARM_HEADER = "usr/arm-linux-gnueabihf/include/asm/unistd.h"


def crate():
    lock = open("Cargo.lock").read()
    version = re.search(r'name = "syscalls"\nversion = "([^"]+)"', lock).group(1)
    home = os.environ.get("CARGO_HOME", os.path.expanduser("~/.cargo"))
    found = glob.glob(f"{home}/registry/src/*/syscalls-{version}/src/arch")
    return found[0] if found else sys.exit(f"syscalls {version} is not there; run cargo fetch")


def numbers(path):
    rows = re.findall(r"^        (\w+) = (\d+),$", open(path).read(), re.M)
    return {name: int(number) for name, number in rows}


def x32(x86_64):
    """The header's, and what came later: since Linux 5.1 all architectures number new calls alike."""
    rows = re.findall(r"#define __NR_(\w+) \(__X32_SYSCALL_BIT \+ (\d+)\)", open(X32_HEADER).read())
    table = {name: int(number) for name, number in rows}
    newest = max(number for number in table.values() if number < 512)
    return table | {name: number for name, number in x86_64.items() if number > newest and name not in NOT_X32}


def arm_private():
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["apt-get", "-qq", "download", "linux-libc-dev-armhf-cross"], cwd=place, check=True)
        subprocess.run(["dpkg-deb", "-x", *os.listdir(place), "."], cwd=place, check=True)
        text = open(f"{place}/{ARM_HEADER}").read()
    base = int(re.search(r"__ARM_NR_BASE\s+\(__NR_SYSCALL_BASE\+(0x[0-9a-f]+)\)", text).group(1), 16)
    return {name: base + int(n) for name, n in re.findall(r"__ARM_NR_(\w+)\s+\(__ARM_NR_BASE\+(\d+)\)", text)}


def main():
    directory = crate()
    tables = {arch: numbers(f"{directory}/{arch}.rs") for arch in COLUMNS if arch != "x32"}
    tables["x32"] = x32(tables["x86_64"])
    tables["arm"] |= arm_private()
    with open("src/seccomp/names.tsv", "w") as out:
        out.write("# By tools/syscalls.py. Numbers of x32 without its bit 30.\n")
        out.write("\t".join(["name", *COLUMNS]) + "\n")
        for name in sorted(set().union(*tables.values())):
            row = [str(tables[arch].get(name, "-")) for arch in COLUMNS]
            out.write("\t".join([name, *row]) + "\n")


main()
