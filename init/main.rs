//! The binary: PID 1 boots the device, any other process is the command line.

fn main() {}
