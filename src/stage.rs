//! What the child was doing when it failed: eight bytes through a pipe, words on the other side.

use std::fmt::Write as _;

use nix::errno::Errno;

use crate::error::Error;
use crate::hooks::Broken;
use crate::label;
use crate::plan::{Plan, Process};
use crate::sys::mount::attr;
use crate::tables;

/// Declares the stages once: as an enum, and as a table to read one back from its number.
macro_rules! stages {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// A group of calls of the child.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Stage { $($(#[$meta])* $name,)* }

        const STAGES: &[Stage] = &[$(Stage::$name,)*];
    };
}

stages! {
    /// Nothing failed: sent last, so that the end of the pipe after it means that the program runs.
    Ready,
    /// No failure: the child waits for its parent; the item is the [`Ask`].
    Ask,
    /// The mappings of a user namespace that was joined.
    Maps,
    /// Becoming root in the user namespace.
    Ids,
    /// Leaving the caller's signals, session and keys behind.
    Session,
    /// Entering the cgroup.
    Cgroup,
    /// `linux.intelRdt`
    Rdt,
    /// `process.ioPriority`
    IoPriority,
    /// `linux.memoryPolicy`
    MemoryPolicy,
    /// `linux.personality`
    Personality,
    /// `process.scheduler`
    Scheduler,
    /// Joining a namespace.
    Join,
    /// Making the new ones, once those were joined.
    Namespaces,
    /// Making a time namespace.
    TimeNamespace,
    /// `linux.timeOffsets`
    TimeOffsets,
    /// Bringing up the loopback interface of a new network namespace.
    Loopback,
    /// Making a cgroup namespace.
    CgroupNamespace,
    /// The host's /proc.
    Proc,
    /// `process.oomScoreAdj`
    OomScore,
    /// `process.apparmorProfile`, `process.selinuxLabel`
    Label,
    /// `linux.sysctl`
    Sysctl,
    /// Getting off the initramfs.
    Initramfs,
    /// `linux.rootfsPropagation`
    Propagation,
    /// `root.path`
    Root,
    /// The writable layer over it.
    Layer,
    /// `mounts`
    Mount,
    /// The default devices.
    Devices,
    /// `linux.devices`
    Node,
    /// `hooks.createContainer`; see [`Broken`].
    CreateContainer,
    /// `process.terminal`
    Terminal,
    /// The host's null device.
    Null,
    /// `linux.maskedPaths`
    Mask,
    /// `linux.readonlyPaths`
    ReadonlyPath,
    /// Read-only tmpfs.
    Seal,
    /// `root.readonly`
    RootReadonly,
    /// pivot_root.
    Pivot,
    /// `hostname`
    Hostname,
    /// `domainname`
    Domainname,
    /// `process.rlimits`
    Rlimit,
    /// `process.capabilities`
    Capabilities,
    /// `process.user.additionalGids`
    Groups,
    /// `process.user.gid`
    Gid,
    /// `process.user.uid`
    Uid,
    /// `process.cwd`
    Cwd,
    /// `process.cwd` leads out of the container.
    CwdOutside,
    /// `process.noNewPrivileges`
    NoNewPrivileges,
    /// `linux.seccomp`
    Seccomp,
    /// The program cannot be executed.
    Program,
    /// The program is in no directory of PATH.
    NotInPath,
    /// Standard input, output, error.
    Stdio,
    /// Waiting for `start`.
    Start,
    /// `hooks.startContainer`; see [`Broken`].
    StartContainer,
    /// execve.
    Exec,
}

/// What the child needs of its parent, which has privileges and a view of the host that the child has given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Ask {
    /// The id mappings of its new user namespace.
    Maps,
    /// What happens once all namespaces exist, with the host's mounts still in place.
    Runtime,
    /// What happens once everything is mounted, before pivot_root.
    Container,
    /// Who answers system calls has to get the descriptor for it, whose number comes along.
    Listener,
}

/// How many of the item's bits an [`Ask`] takes; a number stands above them.
const ASK_BITS: u32 = 4;

/// Which of them a container has work for. None of them costs a container nothing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// [`Ask::Maps`]
    pub maps: bool,
    /// [`Ask::Runtime`]
    pub runtime: bool,
    /// [`Ask::Container`]
    pub container: bool,
    /// [`Ask::Listener`]
    pub listener: bool,
}

impl Asks {
    /// Whether the child has to wait for its parent at all.
    pub fn any(self) -> bool {
        self.maps || self.runtime || self.container || self.listener
    }
}

/// Which stage failed, on which item of its list, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The stage.
    pub stage: Stage,
    /// Index into the plan's list for the stage.
    pub item: u16,
    /// Why, in the kernel's words.
    pub errno: Errno,
}

impl Failure {
    /// What is sent when all went well.
    pub const READY: [u8; 8] = [Stage::Ready as u8, 0, 0, 0, 0, 0, 0, 0];

    /// What is sent to have the parent do its part. `number` is below 4096.
    pub fn asking(ask: Ask, number: u16) -> [u8; 8] {
        let item = ask as u16 | number << ASK_BITS;
        Self { stage: Stage::Ask, item, errno: Errno::UnknownErrno }.to_bytes()
    }

    /// The number that came with an [`Ask`].
    pub fn number(self) -> u16 {
        self.item >> ASK_BITS
    }

    /// What the child asks for, if that is what came.
    pub fn asked(self) -> Option<Ask> {
        let asks = [Ask::Maps, Ask::Runtime, Ask::Container, Ask::Listener];
        let asked = self.item & ((1 << ASK_BITS) - 1);
        asks.into_iter().find(|ask| self.stage == Stage::Ask && asked == *ask as u16)
    }

    /// As it goes through the pipe: fewer bytes than `PIPE_BUF`, so all or none.
    pub fn to_bytes(self) -> [u8; 8] {
        let ([i0, i1], [e0, e1, e2, e3]) = (self.item.to_le_bytes(), (self.errno as i32).to_le_bytes());
        [self.stage as u8, 0, i0, i1, e0, e1, e2, e3]
    }

    /// Reads what came through the pipe.
    pub fn from_bytes([stage, _, i0, i1, e0, e1, e2, e3]: [u8; 8]) -> Self {
        Self {
            stage: STAGES.get(usize::from(stage)).copied().unwrap_or(Stage::Exec),
            item: u16::from_le_bytes([i0, i1]),
            errno: Errno::from_raw(i32::from_le_bytes([e0, e1, e2, e3])),
        }
    }

    /// Turns the numbers back into words.
    pub fn explain(self, plan: &Plan<'_>) -> Error {
        if let Some(broken) = Broken::from_failure(self) {
            return broken.explain(&plan.hooks);
        }
        let item = usize::from(self.item);
        let text = |bytes: Option<&std::ffi::CStr>| {
            String::from_utf8_lossy(bytes.unwrap_or_default().to_bytes()).into_owned()
        };
        let mut what = String::new();
        let _ = match self.stage {
            // Hooks have said so above.
            Stage::Ready | Stage::Ask | Stage::CreateContainer | Stage::StartContainer | Stage::Session => {
                write!(what, "leave the caller's session")
            }
            Stage::Cgroup => write!(what, "enter the cgroup \"{}\"", text(Some(plan.cgroup.path))),
            Stage::Join => {
                let join = plan.join.get(item);
                let named =
                    tables::NAMESPACES.iter().find(|(_, kind)| join.is_some_and(|join| join.kind == *kind));
                let kind = named.map_or("", |(name, _)| *name);
                write!(what, "linux.namespaces: join \"{}\" as {kind} namespace", text(join.map(|j| j.path)))
            }
            Stage::Namespaces => write!(what, "linux.namespaces: make the new ones"),
            Stage::TimeNamespace => write!(what, "linux.namespaces: make a time namespace"),
            Stage::TimeOffsets => write!(what, "linux.timeOffsets: set the clocks"),
            Stage::Loopback => write!(what, "linux.namespaces: bring up lo in the new network namespace"),
            Stage::CgroupNamespace => write!(what, "linux.namespaces: make a cgroup namespace"),
            Stage::Proc => write!(what, "open the host's /proc"),
            Stage::Maps => {
                write!(what, "linux.uidMappings: the namespace that is joined has other mappings of ids")
            }
            Stage::Ids => write!(what, "linux.uidMappings: become root in the user namespace"),
            Stage::Sysctl => {
                write!(what, "linux.sysctl: write \"/proc/{}\"", text(plan.sysctls.get(item).map(|s| s.0)))
            }
            Stage::Initramfs => write!(what, "put the initramfs below a mount of itself"),
            Stage::Propagation => write!(what, "linux.rootfsPropagation"),
            Stage::Root => write!(what, "root.path: bind \"{}\"", text(Some(plan.rootfs))),
            Stage::Layer => {
                let path = text(Some(plan.rootfs));
                let needs = match self.errno {
                    Errno::ENODEV => {
                        " (this kernel has no overlayfs: load the module overlay, or set root.readonly)"
                    }
                    _ => "",
                };
                write!(what, "root.path: \"{path}\" is read-only: make a writable layer{needs}")
            }
            Stage::Mount => {
                let mount = plan.mounts.get(item);
                let (source, target) = (text(mount.map(|m| m.source)), text(mount.map(|m| m.target)));
                let index = mount.map_or(0, |m| m.index);
                // What only a newer kernel has, as far as the errno tells.
                let needs = match (self.errno, mount) {
                    (Errno::EOPNOTSUPP, Some(m)) if m.recursive != (0, 0) => {
                        " (its recursive options need Linux 5.12)"
                    }
                    (Errno::EINVAL, Some(m)) if m.attributes.0 & attr::NOSYMFOLLOW != 0 => {
                        " (nosymfollow of a bind mount needs Linux 5.14)"
                    }
                    _ => "",
                };
                write!(what, "mounts[{index}]: mount \"{source}\" on \"{target}\"{needs}")
            }
            Stage::Devices => write!(what, "make the default devices in /dev"),
            Stage::Node => {
                write!(what, "linux.devices[{item}] \"{}\"", text(plan.nodes.get(item).map(|node| node.path)))
            }
            Stage::Null => write!(what, "open the host's /dev/null"),
            Stage::Mask => {
                write!(what, "linux.maskedPaths[{item}] \"{}\"", text(plan.masked.get(item).copied()))
            }
            Stage::ReadonlyPath => {
                write!(what, "linux.readonlyPaths[{item}] \"{}\"", text(plan.readonly.get(item).copied()))
            }
            Stage::Seal => write!(what, "make \"{}\" read-only", text(plan.sealed.get(item).copied())),
            Stage::RootReadonly => write!(what, "root.readonly"),
            Stage::Pivot => write!(what, "pivot_root"),
            Stage::Hostname => write!(what, "hostname"),
            Stage::Domainname => write!(what, "domainname"),
            Stage::Start => write!(what, "wait for start"),
            _ => write!(what, "{}", self.of_process(&plan.process)),
        }; // writing to a String cannot fail
        Error::child(format_args!("{what}"), self.errno)
    }

    /// As [`explain`](Self::explain), for a process that joins a container.
    pub fn explain_exec(self, process: &Process<'_>) -> Error {
        Error::child(format_args!("{}", self.of_process(process)), self.errno)
    }

    /// What concerns the program and who it runs as.
    fn of_process(self, process: &Process<'_>) -> String {
        let text = |bytes: &std::ffi::CStr| String::from_utf8_lossy(bytes.to_bytes()).into_owned();
        let (item, program) = (usize::from(self.item), text(process.program));
        let mut what = String::new();
        let _ = match self.stage {
            Stage::Session => write!(what, "leave the caller's session"),
            Stage::Rdt => write!(what, "linux.intelRdt: enter the group"),
            Stage::IoPriority => write!(what, "process.ioPriority"),
            Stage::MemoryPolicy => write!(what, "linux.memoryPolicy"),
            Stage::Personality => write!(what, "linux.personality"),
            Stage::Scheduler => write!(what, "process.scheduler"),
            Stage::OomScore => write!(what, "process.oomScoreAdj"),
            Stage::Label => {
                let (field, path) = label::FILES.get(item).copied().unwrap_or_default();
                let labels = &process.labels;
                let label = if item < 2 { labels.apparmor } else { labels.selinux };
                let label = text(label.unwrap_or_default());
                let label = label.strip_prefix("exec ").unwrap_or(&label);
                // Podman knows a refused label by the path in back quotes.
                write!(what, "{field} \"{label}\": write `/proc/{}`", text(path))
            }
            Stage::Terminal => write!(what, "process.terminal: open a pseudoterminal in the container"),
            Stage::Rlimit => write!(what, "process.rlimits[{item}]"),
            Stage::Capabilities => write!(what, "process.capabilities"),
            Stage::Groups => write!(what, "process.user.additionalGids"),
            Stage::Gid => write!(what, "process.user.gid"),
            Stage::Uid => write!(what, "process.user.uid"),
            Stage::Cwd => write!(what, "process.cwd \"{}\"", text(process.cwd)),
            Stage::CwdOutside => {
                write!(what, "process.cwd \"{}\" leads out of the container", text(process.cwd))
            }
            Stage::NoNewPrivileges => write!(what, "process.noNewPrivileges"),
            Stage::Seccomp => write!(what, "linux.seccomp: load the filter"),
            Stage::Program => write!(what, "exec \"{program}\""),
            Stage::NotInPath => write!(what, "exec \"{program}\": executable file not found in $PATH"),
            Stage::Stdio => write!(what, "set up standard input and output"),
            Stage::Exec => write!(what, "exec \"{program}\""),
            _ => write!(what, "join the container"),
        }; // writing to a String cannot fail
        what
    }
}

/// Says which stage a refused call belongs to.
pub trait At<T> {
    /// Names the stage and the item of its list.
    fn at(self, stage: Stage, item: usize) -> Result<T, Failure>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: Stage, item: usize) -> Result<T, Failure> {
        self.map_err(|errno| Failure { stage, item: u16::try_from(item).unwrap_or(u16::MAX), errno })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        for (n, stage) in STAGES.iter().enumerate() {
            assert_eq!(*stage as usize, n);
            let failure = Failure { stage: *stage, item: 513, errno: Errno::EXDEV };
            assert_eq!(Failure::from_bytes(failure.to_bytes()), failure);
        }
    }

    #[test]
    fn what_the_child_asks_for_survives_the_pipe() {
        for ask in [Ask::Maps, Ask::Runtime, Ask::Container, Ask::Listener] {
            let asked = Failure::from_bytes(Failure::asking(ask, 4095));
            assert_eq!((asked.asked(), asked.number()), (Some(ask), 4095));
        }
        assert_eq!(Failure::from_bytes(Failure::READY).asked(), None);
    }
}
