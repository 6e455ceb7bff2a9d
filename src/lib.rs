//! mote, the OCI runtime: `argv -> spec -> plan -> parent => child -> execve`.
