//! Where everything is: on the device always in the same places, under `mote supervise` where its options say.

/// Directories and files, each an absolute path. Made once and never freed, so that whoever needs one can keep it.
#[derive(Debug, Clone, Copy)]
pub struct Paths {
    /// Whether this is the device's own PID 1, to whom everything on it belongs.
    pub device: bool,
    /// What the device is told: `init.json`.
    pub settings: &'static str,
    /// The manifests.
    pub manifests: &'static str,
    /// The bundles, each a directory.
    pub bundles: &'static str,
    /// What `emptyDir` volumes on the disk are kept below.
    pub volumes: &'static str,
    /// The logs, `<pod>/<container>/0.log`.
    pub logs: &'static str,
    /// The state directory of the library, and what else belongs to this boot.
    pub run: &'static str,
    /// The control socket.
    pub socket: &'static str,
    /// The records of what has become of the containers.
    pub events: &'static str,
    /// The cgroup that holds those of all pods, from where cgroups are mounted, without a leading slash.
    pub pods: &'static str,
    /// Where that cgroup has its memory controller, and the file there that counts what the OOM killer has ended.
    pub oom: (&'static str, &'static str),
}

/// Those of a device.
pub static DEVICE: Paths = Paths {
    device: true,
    settings: "/etc/mote/init.json",
    manifests: "/etc/mote/manifests",
    bundles: "/var/lib/mote/bundles",
    volumes: "/var/lib/mote/volumes",
    logs: "/var/log/pods",
    run: "/run/mote",
    socket: "/run/mote/control.sock",
    events: "/run/mote/events",
    pods: "pods",
    oom: ("/sys/fs/cgroup/pods", "memory.events"),
};

/// The name of the socket in the run directory.
pub const SOCKET: &str = "control.sock";

/// A link in the run directory of `mote supervise` to where its logs are.
pub const LOGS: &str = "logs";
