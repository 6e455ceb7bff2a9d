//! mote, the OCI runtime: `argv -> spec -> plan -> parent => child -> execve`.

pub mod error;
pub mod json;
pub mod sys;
