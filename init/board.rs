//! The bounds of this board, until `board.conf` says them.

/// Pods, the failed ones included.
pub const MAX_PODS: usize = 64;
/// Containers of all pods together.
pub const MAX_CONTAINERS: usize = 128;
/// A log file is rotated before it grows beyond this.
pub const LOG_FILE_BYTES: u64 = 256 * 1024;
/// Files of one container, the current one included.
pub const LOG_FILES: u32 = 4;
/// The longest line in one piece.
pub const LOG_LINE_BYTES: usize = 4096;
/// Clients of the control socket at one time.
pub const CONTROL_CLIENTS: usize = 8;
/// The second restart of a container waits this long, the third twice as long, and so on.
pub const RESTART_DELAY_MS: u64 = 1_000;
/// The longest wait before a restart.
pub const RESTART_DELAY_MAX_MS: u64 = 300_000;
/// A container that ran this long is taken as healthy: its next restart is immediate again.
pub const RESTART_RESET_MS: u64 = 600_000;
/// From SIGTERM to SIGKILL where the manifest does not say.
pub const GRACE_DEFAULT_S: u32 = 30;
/// The device's name where neither the command line nor init.json says.
pub const HOSTNAME: &str = "mote";
