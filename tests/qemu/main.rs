//! Whole devices: an image boots in QEMU under TCG on both architectures, and the serial console says how it went.
//!
//! `$MOTE_IMAGES` holds `demo/<arch>/` and `qemu/<arch>/`, each with `kernel` and `initramfs.cpio`; `make test` makes them and
//! names their directory. In the latter `device/test/init` leaves a shell beside PID 1, which prints a line for each check.

// A test may panic, that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLock};
use std::{env, fmt, thread};

/// Seconds that a device may take; on two idle cores it is 15.
const DEADLINE_S: u32 = 180;

/// The device's clock goes on by 8 ns with each instruction, and where there is none to run up to the next timer: what takes its
/// time there takes the same on a busy machine, and a wait takes none here. Not for a device with a disk, which QEMU serves in real
/// time, nor for two processors, of which the second never comes up on x86_64 (QEMU 7.2).
const STEADY_CLOCK: &[&str] = &["-icount", "shift=3,sleep=off"];

/// How a boot ended: the exit status of `tools/qemu`, which documents it, and what stood on the console.
struct Boot {
    status: i32,
    console: String,
}

impl Boot {
    #[track_caller]
    fn shows(&self, expected: &str) {
        assert!(self.console.contains(expected), "no {expected:?} on the console:\n{self}");
    }

    /// Asserts that the device powered itself off.
    #[track_caller]
    fn ends_well(&self) {
        assert_eq!(self.status, 0, "the device did not power itself off:\n{self}");
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.console)
    }
}

/// The directory of the image `name` for `arch`; `None`, and the reason on stderr, without one.
fn image(name: &str, arch: &str) -> Option<PathBuf> {
    let Some(images) = env::var_os("MOTE_IMAGES") else {
        let name = thread::current().name().unwrap_or("test").to_owned();
        let _ = writeln!(std::io::stderr(), "skipped {name}: MOTE_IMAGES is not set; make test sets it");
        return None;
    };
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(images).join(name).join(arch))
}

/// Boots the image `name` for `arch` with `append` on the kernel command line and `more` options for QEMU; `None` without an image.
fn boot(name: &str, arch: &str, append: &str, more: &[&str]) -> Option<Boot> {
    // A device in real time has the machine for itself: two emulators would measure each other.
    static TURNS: RwLock<()> = RwLock::new(());
    let image = image(name, arch)?;
    // A test that failed before has poisoned nothing: the lock guards no data.
    let (_with_others, _alone) = if more.starts_with(STEADY_CLOCK) {
        (Some(TURNS.read().unwrap_or_else(PoisonError::into_inner)), None)
    } else {
        (None, Some(TURNS.write().unwrap_or_else(PoisonError::into_inner)))
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("tools/qemu"))
        .args(["--arch", arch, "--deadline", &DEADLINE_S.to_string(), "--append", append, "--image"])
        .arg(image)
        .arg("--")
        .args(more)
        .output()
        .expect("tools/qemu");
    let text = [output.stdout, output.stderr].concat();
    Some(Boot {
        status: output.status.code().expect("tools/qemu was killed"),
        console: String::from_utf8_lossy(&text).replace('\r', ""),
    })
}

/// The pod of the demo: both containers run, a message goes from one to the other, the device goes down by itself.
fn runs_the_demo(arch: &str) {
    if let Some(boot) = boot("demo", arch, "mote.demo=5", &[]) {
        boot.ends_well();
        boot.shows("broker");
        boot.shows("sensor");
        boot.shows("gateway/load ");
        // PID 1 with two containers: at most 600 KB resident, 100 KB anonymous, nothing allocated since the boot.
        let line = boot.console.lines().find(|line| line.starts_with("PID 1: ")).expect("PID 1's memory");
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(
            matches!(numbers[..], [resident, anonymous, 0] if resident <= 600 && anonymous <= 100),
            "{line}"
        );
    }
}

#[test]
fn an_x86_64_device_runs_a_pod_and_powers_off() {
    runs_the_demo("x86_64");
}

#[test]
fn an_aarch64_device_runs_a_pod_and_powers_off() {
    runs_the_demo("aarch64");
}

/// The checks of `device/test/life/checks.sh`, by name: one that was not come to is missing, not passed.
const LIFE: &[&str] = &[
    "containers run",
    "a pod has one network namespace",
    "the pin can be joined and lo is up",
    "a hostNetwork pod is in the device's",
    "command, env, workingDir, hostname are the manifest's",
    "a container's mount namespace has no way out",
    "wrong manifests are listed with the reason",
    "restartPolicy Never and OnFailure are kept",
    "a crashing container is restarted with back-off",
    "a killed container is back, at once and then later",
    "logs are in CRI format",
    "a log writer that is killed loses nothing",
    "orphans are reaped",
    "clients at the same time are all answered",
    "hostile clients take nothing, and others are answered",
    "the command line's settings hold",
    "PID 1 stays within its bounds",
];

/// Runs `checks` in the test image, by its steady clock; `None` when there is none.
fn check(arch: &str, test: &str, append: &str, checks: &[&str]) -> Option<Boot> {
    check_with(arch, test, append, STEADY_CLOCK, checks)
}

/// The same with these options for QEMU.
fn check_with(arch: &str, test: &str, append: &str, more: &[&str], checks: &[&str]) -> Option<Boot> {
    let boot = boot("qemu", arch, &format!("rdinit=/test/init TEST={test} {append}"), more)?;
    assert!(!boot.console.contains("not ok "), "a check failed:\n{boot}");
    for name in checks {
        boot.shows(&format!("ok {name}\n"));
    }
    Some(boot)
}

fn lives(arch: &str) {
    let append = "mote.hostname=device-7 mote.sysctl.kernel.panic_on_oops=1 mote.sysctl.vm.watermark_boost_factor=7 \
                  mote.nonsense=1 mote.log=debug";
    if let Some(boot) = check(arch, "life", append, LIFE) {
        boot.ends_well();
    }
}

#[test]
fn pods_live_and_end_on_x86_64() {
    lives("x86_64");
}

#[test]
fn pods_live_and_end_on_aarch64() {
    lives("aarch64");
}

#[test]
fn as_many_pods_as_the_board_allows_run_and_sigterm_restarts() {
    let checks = [
        "64 pods run",
        "every pod has its limits",
        "the 65th is refused by words",
        "64 containers dying at once are all restarted",
    ];
    if let Some(boot) = check("x86_64", "crowd", "", &checks) {
        boot.shows("ok PID 1 grows by at most 4 KB for each\n");
        assert_eq!(boot.status, 2, "the device did not restart:\n{boot}");
    }
}

/// The checks of `device/test/limits/checks.sh`.
const LIMITS: &[&str] = &[
    "containers run",
    "a manifest's limits are the pod's and the container's",
    "pods leave memory to the device, and PID 1 is apart",
    "a pod answers",
    "the fork bomb is at its limit",
    "the hog is at work",
    "the fork bomb is still at its limit",
    "and it stays there",
    "the other pod answers in less than twice its usual time",
    "PID 1 answers within 100 ms",
    "the hog was killed, counted and restarted",
    "by a limit, while there was memory left",
];

fn holds_pods(arch: &str) {
    if let Some(boot) = check(arch, "limits", "", LIMITS) {
        boot.ends_well();
    }
}

#[test]
fn pods_are_held_while_one_is_a_fork_bomb_and_one_a_memory_hog() {
    holds_pods("x86_64");
}

#[test]
fn pods_are_held_while_one_is_a_fork_bomb_and_one_a_memory_hog_on_aarch64() {
    holds_pods("aarch64");
}

/// The checks of `device/test/resources/checks.sh`: each field of `linux.resources`.
const RESOURCES: &[&str] = &[
    "the kernel has every limit, before and after update",
    "events --stats has what the kernel counts, pressure included",
    "a memory hog is killed",
    "swap is what lies between both limits",
    "a reservation stays when others need memory",
    "a fork bomb stops at pids.max and is removed whole",
    "half a processor is half a processor within 15 percent",
    "processor time is shared by weight",
    "an idle container has what others leave",
    "what was saved up can be spent in a burst",
    "reads are limited in bytes",
    "writes are limited in bytes",
    "reads are limited in number",
    "writes are limited in number",
    "without BFQ a weight is the cost model's",
    "huge pages are limited",
    "a missing RDMA device is named, with the file and the value",
    "a denied device cannot be opened",
    "a file of unified is felt",
    "a paused counter stands still",
    "what cgroup v2 does not take is named with the file and the value, and nothing is left",
    "a cgroup that is not empty, or frozen, or climbs out is refused and left as it is",
];

fn limits(arch: &str) {
    if let Some(boot) = check(arch, "resources", "hugepages=8", RESOURCES) {
        boot.ends_well();
    }
}

/// The checks of `device/test/nested/checks.sh`.
const NESTED: &[&str] = &[
    "mote in a container of mote moves to a leaf of its own",
    "exec joins it, and it goes with all that was made in it",
    "a container that may write to its cgroup owns it",
    "in a delegated cgroup the processes beside mote move to a leaf",
    "a stranger's processes stay where they are",
];

#[test]
fn roots_with_processes_in_them_are_emptied_into_a_leaf() {
    if let Some(boot) = check("x86_64", "nested", "", NESTED) {
        boot.ends_well();
    }
}

#[test]
fn a_limit_of_rdma_is_felt() {
    let why = "of the RDMA devices that need no hardware the kernel in QEMU has none: CONFIG_RDMA_RXE and CONFIG_RDMA_SIW are not set";
    let _ = writeln!(std::io::stderr(), "skipped a_limit_of_rdma_is_felt: {why}");
}

#[test]
fn every_limit_is_read_back_and_felt_on_x86_64() {
    limits("x86_64");
}

#[test]
fn every_limit_is_read_back_and_felt_on_aarch64() {
    limits("aarch64");
}

/// The checks of `device/test/smp/checks.sh`.
const SMP: &[&str] = &[
    "a container is on its processors alone",
    "memory is taken from its nodes alone",
    "a disk is shared by weight",
];

/// Two processors, each with half of the memory near to it.
const TWO_NODES: &[&str] = &[
    "-smp",
    "2",
    "-object",
    "memory-backend-ram,id=near,size=128M",
    "-object",
    "memory-backend-ram,id=far,size=128M",
    "-numa",
    "node,memdev=near,cpus=0",
    "-numa",
    "node,memdev=far,cpus=1",
];

fn shares_two_processors(arch: &str) {
    if let Some(boot) = check_with(arch, "smp", "", TWO_NODES, SMP) {
        boot.ends_well();
    }
}

#[test]
fn two_processors_their_memory_and_a_disk_are_shared_on_x86_64() {
    shares_two_processors("x86_64");
}

#[test]
fn two_processors_their_memory_and_a_disk_are_shared_on_aarch64() {
    shares_two_processors("aarch64");
}

fn bears_faults(arch: &str) {
    let checks = [
        "a container runs beside them",
        "wrong bundles fail with the reason, alone",
        "a log writer that is killed in a flood loses no line",
        "a full log disk holds no container up",
    ];
    if let Some(boot) = check(arch, "faults", "", &checks) {
        boot.ends_well();
    }
}

#[test]
fn faults_around_pid_1_stay_where_they_are_on_x86_64() {
    bears_faults("x86_64");
}

#[test]
fn faults_around_pid_1_stay_where_they_are_on_aarch64() {
    bears_faults("aarch64");
}

/// A device that is told by `signal` to go down; `status` is that of `tools/qemu`. It has no console when PID 1 begins.
fn goes_down_by(arch: &str, signal: &str, word: &str, status: i32) {
    let checks = [
        "the console is opened where the kernel has not",
        "a container runs",
        "another signal changes nothing",
    ];
    if let Some(boot) = check(arch, "down", &format!("SIGNAL={signal} loglevel=7"), &checks) {
        boot.shows(&format!("mote: {word}: stopping 1 containers"));
        boot.shows("mote: one/c: ended with code 0");
        assert_eq!(boot.status, status, "the device ended in another way:\n{boot}");
    }
}

#[test]
fn sigusr1_halts_also_without_a_console() {
    goes_down_by("x86_64", "USR1", "halt", 4);
}

#[test]
fn sigusr2_powers_off_also_without_a_console() {
    goes_down_by("aarch64", "USR2", "poweroff", 0);
}

#[test]
fn sigint_restarts_also_without_a_console() {
    goes_down_by("x86_64", "INT", "reboot", 2);
}

#[test]
fn sigterm_restarts_also_without_a_console() {
    goes_down_by("aarch64", "TERM", "reboot", 2);
}

/// The checks of `device/test/storage/checks.sh`.
const STORAGE: &[&str] = &[
    "what init.json lists is mounted, from a disk that came late",
    "what cannot be mounted is said and left out",
    "without overlayfs a container that is to write is refused",
    "with it the container is started",
    "what it writes is in memory, and the bundle as it was",
    "a restart begins with the bundle",
];

/// A file that is removed at the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A device with a disk; what was written on it is there when it is off, and its file system was unmounted.
fn uses_a_disk(arch: &str) {
    let Some(image) = image("qemu", arch) else { return };
    let disk = env::temp_dir().join(format!("mote-disk-{arch}-{}.img", std::process::id()));
    std::fs::copy(image.join("disk.img"), &disk).expect("disk.img");
    let disk = Temporary(disk);
    let drive = format!("file={},format=raw,if=virtio", disk.0.display());
    let boot = check_with(arch, "storage", "", &["-drive", &drive], STORAGE).expect("there is an image");
    boot.ends_well();
    let debugfs = |request: &str| {
        let path = format!("{}:/sbin:/usr/sbin", env::var("PATH").unwrap_or_default());
        let out = Command::new("debugfs").env("PATH", path).args(["-R", request]).arg(&disk.0).output();
        String::from_utf8_lossy(&out.expect("debugfs").stdout).into_owned()
    };
    assert_eq!(debugfs("cat /kept"), "kept\n", "{boot}");
    let state = debugfs("stats -h");
    let is_clean = state.contains("Filesystem state:         clean") && !state.contains("needs_recovery");
    assert!(is_clean, "the disk was not unmounted: {state}{boot}");
}

#[test]
fn a_disk_is_mounted_used_and_unmounted_on_x86_64() {
    uses_a_disk("x86_64");
}

#[test]
fn a_disk_is_mounted_used_and_unmounted_on_aarch64() {
    uses_a_disk("aarch64");
}

/// A device with a watchdog (softdog: Debian's kernels for QEMU have no driver of hardware that both machines have), which ends by `end`.
fn is_watched(arch: &str, end: &str) -> Option<Boot> {
    let checks = ["the watchdog is armed with the timeout of the command line", "PID 1 feeds it"];
    check(arch, "watchdog", &format!("mote.watchdog=10 END={end}"), &checks)
}

#[test]
fn a_device_that_hangs_is_restarted_by_its_watchdog() {
    if let Some(boot) = is_watched("aarch64", "hang") {
        boot.shows("PID 1 hangs from here");
        boot.shows("softdog: Initiating system reboot");
        assert!(boot.status == 1, "{}: {boot}", boot.status);
    }
}

#[test]
fn a_device_that_goes_off_stops_its_watchdog() {
    if let Some(boot) = is_watched("x86_64", "off") {
        boot.ends_well();
        assert!(!boot.console.contains("did not stop"), "{boot}");
    }
}

/// The checks of `device/test/apparmor/checks.sh`.
const APPARMOR: &[&str] = &[
    "a profile is loaded",
    "a container's program is confined by its profile",
    "a process of exec is confined by the container's profile, or by its own",
    "a profile that is not there is named, and nothing is left",
];

#[test]
fn profiles_of_apparmor_confine() {
    if let Some(boot) = check("x86_64", "apparmor", "", APPARMOR) {
        boot.ends_well();
    }
}

/// The checks of `device/test/selinux/checks.sh`.
const SELINUX: &[&str] = &[
    "a policy is loaded",
    "a container's program and its mounts have their labels",
    "a process of exec has the container's label, or its own",
    "a label that the policy does not know is named, and nothing is left",
];

#[test]
fn labels_of_selinux_are_set() {
    if let Some(boot) = check("aarch64", "selinux", "security=selinux enforcing=0", SELINUX) {
        boot.ends_well();
    }
}

/// The checks of `device/test/seccomp/checks.sh`.
const SECCOMP: &[&str] = &[
    "allow",
    "log",
    "errno",
    "trap",
    "trace without a tracer",
    "trace",
    "kill thread",
    "kill",
    "kill process",
    "64-bit arguments",
    "a listener answers",
    "RuntimeDefault holds and Unconfined does not",
];

#[test]
fn every_seccomp_action_is_seen_on_aarch64() {
    if let Some(boot) = check("aarch64", "seccomp", "", SECCOMP) {
        boot.ends_well();
    }
}

#[test]
fn every_seccomp_action_is_seen_on_x86_64() {
    if let Some(boot) = check("x86_64", "seccomp", "", SECCOMP) {
        boot.ends_well();
    }
}

/// The checks of `device/test/network/checks.sh`.
const NETWORK: &[&str] = &[
    "the modules of init.json are loaded with their parameters, and one that is missing is named",
    "what the kernel lacks is named, and others run",
    "the kernel loads its modules by mote, and they come up by themselves",
    "a pod written in YAML is reached from the device, by its port, and from a pod",
    "a restart changes nothing",
    "a pod that is removed takes its interface along",
    "PID 1 has allocated nothing",
];

#[test]
fn pods_are_on_a_bridge_on_x86_64() {
    if let Some(boot) = check("x86_64", "network", "", NETWORK) {
        boot.ends_well();
    }
}

#[test]
fn pods_are_on_a_bridge_on_aarch64() {
    if let Some(boot) = check("aarch64", "network", "", NETWORK) {
        boot.ends_well();
    }
}
