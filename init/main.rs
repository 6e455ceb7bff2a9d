//! The binary: PID 1 boots the device, any other process is the command line.
#![cfg_attr(not(test), no_main)] // see mote::sys::entry
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))] // they panic where nobody reads: see mote::output

mod amend;
mod boot;
mod child;
mod client;
mod clock;
mod control;
mod cri;
mod early;
mod event;
mod fields;
mod files;
mod history;
mod hosted;
mod journal;
mod kmsg;
mod limits;
mod line;
mod live;
mod logbound;
mod logs;
mod logterminal;
mod logwriter;
mod manifest;
mod memory;
mod modules;
mod mounts;
mod name;
mod namespaces;
mod network;
mod nofile;
mod order;
mod paths;
mod podinit;
mod pods;
mod poll;
mod power;
mod reap;
mod settings;
mod start;
mod stdin;
mod steps;
mod supervise;
mod table;
mod task;
mod tty;
mod volumes;
mod watchdog;
mod world;

use std::ffi::OsString;
use std::path::Path;

#[global_allocator]
static ALLOCATOR: mote::sys::alloc::Counting = mote::sys::alloc::Counting;

mote::entry!(program);

/// The program; `args[0]` is its name. Returns the exit code.
fn program(args: &[OsString]) -> i32 {
    let name = args.first().and_then(|name| Path::new(name).file_name());
    if name.is_some_and(|name| name == "modprobe") && std::process::id() != 1 {
        return modules::modprobe(args);
    }
    // The kernel hands an init the words of its command line that it does not know. As PID 1 of a container mote may be
    // any of its commands, with options before it.
    let command = args.get(1).is_some_and(|word| {
        mote::cli::begins(word) || client::COMMANDS.iter().any(|command| word == command.name)
    });
    if std::process::id() == 1 {
        if mote::image::is_smuggled() {
            mote::output::complain(&format!("mote: {}", mote::image::smuggled()));
            return 1;
        }
        if !command {
            boot::run();
        }
    }
    if let Err(errno) = mote::sys::entry::open_standard() {
        return errno as i32; // nowhere to say why
    }
    mote::cli::main(args, client::COMMANDS)
}
