//! What the security modules call the program: AppArmor's profile, SELinux's label. Runs in the child: no allocation.

use std::ffi::CStr;

use nix::errno::Errno;

use crate::procfs::Procfs;
use crate::stage::{At, Failure, Stage};

/// The labels of a process.
#[derive(Debug, Default, Clone, Copy)]
pub struct Labels<'a> {
    /// As AppArmor takes it: `exec` and the profile's name.
    pub apparmor: Option<&'a CStr>,
    /// SELinux's context.
    pub selinux: Option<&'a CStr>,
}

/// The files that are written, by the item of [`Stage::Label`]; proc_pid_attr(5). The directory of AppArmor is there since
/// Linux 5.8 where several modules can be active; without, the file above it is AppArmor's.
pub const FILES: [(&str, &CStr); 4] = [
    ("process.apparmorProfile", c"thread-self/attr/apparmor/exec"),
    ("process.apparmorProfile", c"thread-self/attr/exec"),
    ("process.selinuxLabel", c"thread-self/attr/exec"),
    ("process.selinuxLabel", c"thread-self/attr/keycreate"),
];

impl Labels<'_> {
    /// Whether there is anything to write.
    pub fn any(&self) -> bool {
        self.apparmor.is_some() || self.selinux.is_some()
    }

    /// Gives keys that this process makes the label of the program that will own them; execve(2) ends it.
    pub fn for_keys(&self, proc: Option<&Procfs>) -> Result<(), Failure> {
        match (proc, self.selinux) {
            (Some(proc), Some(label)) => write(proc, 3, label),
            _ => Ok(()),
        }
    }

    /// Has them change with the next execve(2).
    pub fn on_exec(&self, proc: &Procfs) -> Result<(), Failure> {
        if let Some(profile) = self.apparmor {
            match write(proc, 0, profile) {
                Err(Failure { errno: Errno::ENOENT, .. }) => write(proc, 1, profile)?,
                result => result?,
            }
        }
        self.selinux.map_or(Ok(()), |label| write(proc, 2, label))
    }
}

fn write(proc: &Procfs, file: usize, label: &CStr) -> Result<(), Failure> {
    let path = FILES.get(file).map_or(c"", |(_, path)| path);
    proc.write(path, label.to_bytes()).at(Stage::Label, file)
}
