//! mote, the OCI runtime: `argv -> spec -> plan -> parent => child -> execve`.

pub mod board;
pub mod cgroup;
pub mod child;
pub mod cli;
pub mod container;
pub mod error;
pub mod home;
pub mod initramfs;
pub mod input;
pub mod json;
pub mod netns;
pub mod parent;
pub mod plan;
pub mod process;
pub mod rootfs;
pub mod run;
pub mod scheduling;
pub mod spec;
pub mod stage;
pub mod state;
pub mod strings;
pub mod sys;
pub mod tables;
pub mod time;
