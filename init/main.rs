//! The binary: PID 1 boots the device, any other process is the command line.

mod board;
mod fields;
mod known;
mod manifest;
mod name;
mod supervise;

fn main() {
    let args: Vec<_> = std::env::args_os().collect();
    std::process::exit(mote::cli::main(&args));
}
