//! mote, the OCI runtime: `argv -> spec -> plan -> parent => child -> execve`.

pub mod cgroup;
pub mod error;
pub mod json;
pub mod plan;
pub mod spec;
pub mod strings;
pub mod sys;
pub mod tables;
