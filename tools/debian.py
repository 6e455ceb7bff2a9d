#!/usr/bin/env python3
"""Debian packages of any architecture, resolved, downloaded and unpacked without touching the host's own packages.

apt gets a state directory of its own below target/cache for each architecture and an empty list of installed packages.
Run as a program, `debian.py ARCH PACKAGE...` downloads and prints the paths of the .deb files.
"""

import os
import re
import subprocess
import sys

CACHE = "target/cache"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org")
SUITE = "bookworm"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# Packages that are there for maintainer scripts, which never run here.
SCRIPT_ONLY = {"adduser", "debconf", "init-system-helpers", "lsb-base", "ucf"}


class Debian:
    """The archive, seen from a machine of one architecture (Debian's word for it: amd64, arm64)."""

    def __init__(self, architecture):
        self.state = os.path.abspath(f"{CACHE}/{architecture}")
        self.debs = f"{self.state}/debs"
        for directory in ("lists/partial", "archives/partial", "debs"):
            os.makedirs(f"{self.state}/{directory}", exist_ok=True)
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        with open(f"{self.state}/sources.list", "w") as sources:
            for archive, suite in ("debian", SUITE), ("debian-security", f"{SUITE}-security"):
                sources.write(f"deb [signed-by={keyring}] {MIRROR}/{archive} {suite} main\n")
        open(f"{self.state}/status", "w").close()
        options = {
            "APT::Architecture": architecture,
            "APT::Architectures": architecture,
            "APT::Sandbox::User": "root",  # the download directory is not _apt's
            "Dir::State::Lists": f"{self.state}/lists",
            "Dir::State::Status": f"{self.state}/status",
            "Dir::Cache": self.state,
            "Dir::Cache::PkgCache": "pkgcache.bin",  # which images for containers switch off: each call takes a second
            "Dir::Cache::SrcPkgCache": "srcpkgcache.bin",
            "Dir::Etc::SourceList": f"{self.state}/sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
        }
        self.options = [f"-o{key}={value}" for key, value in options.items()]
        if not any("_Packages" in name for name in os.listdir(f"{self.state}/lists")):
            self.update()

    def update(self):
        self._run("apt-get", "-qq", "update")

    def _run(self, command, *arguments):
        done = subprocess.run([command, *self.options, *arguments], cwd=self.debs, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{command} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def show(self, names):
        """The fields of each package of `names` that exists, by name."""
        packages = {}
        for paragraph in self._run("apt-cache", "show", "--no-all-versions", "--quiet=0", *names).split("\n\n"):
            fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
            if fields:
                packages[fields["Package"]] = fields
        return packages

    def closure(self, names):
        """`names` and what they depend on, without Essential packages and those that only maintainer scripts need."""
        found, wanted = {}, list(names)
        while wanted:
            packages = self.show(wanted)
            wanted = []
            for name, fields in packages.items():
                if name not in names and (fields.get("Essential") == "yes" or name in SCRIPT_ONLY):
                    continue
                found[name] = fields
                wanted += [name for name in dependencies(fields) if name not in found]
            wanted = sorted(set(wanted) - SCRIPT_ONLY)
        missing = set(names) - set(found)
        if missing:
            sys.exit(f"no such package: {' '.join(sorted(missing))}")
        return sorted(found)

    def download(self, names):
        """Downloads what is not there yet; the paths of the .deb files, in the order of `names`."""
        paths = []
        for fields in map(self.show(names).get, names):
            # As apt names a file: the epoch's colon is escaped.
            version = fields["Version"].replace(":", "%3a")
            paths.append(f"{self.debs}/{fields['Package']}_{version}_{fields['Architecture']}.deb")
        missing = [name for name, path in zip(names, paths) if not os.path.exists(path)]
        if missing:
            self._run("apt-get", "-qq", "download", *missing)
        return paths


def dependencies(fields):
    """The names in Depends and Pre-Depends; of alternatives the first, which is what apt installs too."""
    text = ", ".join(fields[key] for key in ("Pre-Depends", "Depends") if key in fields)
    return [re.split(r"[ :(|]", clause.strip())[0] for clause in text.split(",") if clause.strip()]


def unpack(deb, directory, exclude=(), only=()):
    """Unpacks the files of a .deb below `directory`; `only` and `exclude` are paths from the root, without the slash.

    A directory that is a symbolic link in `directory` stays one, as dpkg has it on a merged-/usr system.
    """
    os.makedirs(directory, exist_ok=True)
    tar = ["tar", "-x", "-C", directory, "--keep-directory-symlink", "--no-same-owner", "--anchored"]
    tar += [f"--exclude=./{path}" for path in exclude] + [f"./{path}" for path in only]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE) as source:
        subprocess.run(tar, stdin=source.stdout, check=True)
    if source.returncode:
        sys.exit(f"dpkg-deb {deb}: exit status {source.returncode}")


if __name__ == "__main__":
    print("\n".join(Debian(sys.argv[1]).download(sys.argv[2:])))
