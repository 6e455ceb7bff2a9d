//! mote, the OCI runtime: `argv -> spec -> plan -> parent => child -> execve`.

pub mod cgroup;
pub mod child;
pub mod error;
pub mod json;
pub mod plan;
pub mod process;
pub mod rootfs;
pub mod spec;
pub mod stage;
pub mod strings;
pub mod sys;
pub mod tables;
