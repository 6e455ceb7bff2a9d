//! Whole devices: an image boots in QEMU under TCG on both architectures, and the serial console says how it went.
//!
//! `$MOTE_IMAGES` holds `<arch>/kernel` and `<arch>/initramfs.cpio`; `make test` makes the demo's and names them. The
//! devices boot one after the other: two emulators at a time would only measure each other.

// A test may panic, that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::{env, fmt, thread};

/// Seconds that a device may take; on two idle cores it is 15.
const DEADLINE_S: u32 = 180;

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

/// Boots the image for `arch` with `append` on the kernel command line; `None`, and the reason on stderr, without one.
fn boot(arch: &str, append: &str) -> Option<Boot> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let Some(images) = env::var_os("MOTE_IMAGES") else {
        let name = thread::current().name().unwrap_or("test").to_owned();
        let _ = writeln!(std::io::stderr(), "skipped {name}: MOTE_IMAGES is not set; make test sets it");
        return None;
    };
    // A test that failed before has poisoned nothing: the lock guards no data.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("tools/qemu"))
        .args(["--arch", arch, "--deadline", &DEADLINE_S.to_string(), "--append", append, "--image"])
        .arg(root.join(images).join(arch))
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
    if let Some(boot) = boot(arch, "mote.demo=5") {
        boot.ends_well();
        boot.shows("broker");
        boot.shows("sensor");
        boot.shows("gateway/load ");
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
