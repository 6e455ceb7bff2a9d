//! mote, the OCI runtime: `argv -> spec -> plan -> parent => child -> execve`.

// `output` instead: these panic where nobody reads.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod board;
pub mod cgroup;
pub mod child;
pub mod cli;
pub mod container;
pub mod descriptors;
pub mod error;
pub mod exec;
mod helper;
pub mod home;
pub mod hooks;
pub mod host;
pub mod image;
pub mod initramfs;
pub mod input;
pub mod join;
pub mod json;
pub mod label;
pub mod live;
pub mod netdevices;
pub mod nft;
pub mod notify;
pub mod output;
pub mod parent;
pub mod pin;
pub mod plan;
pub mod process;
pub mod procfs;
pub mod resctrl;
pub mod rootfs;
pub mod rtnetlink;
pub mod run;
pub mod say;
pub mod scheduling;
pub mod seccomp;
pub mod signals;
pub mod spec;
pub mod stage;
pub mod state;
pub mod stdio;
pub mod strings;
pub mod sys;
pub mod tables;
pub mod time;
pub mod userns;
