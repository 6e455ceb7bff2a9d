//! The kernel, call by call: the only unsafe code, and no policy, retry or log.
//!
//! A wrapper has the name of its system call, takes borrowed descriptors, returns owned ones, and sets `O_CLOEXEC`
//! itself. What nix wraps safely is called through nix directly.
#![allow(unsafe_code)] // the one place; see shared/style.md section 5
