//! `error!`, `warn!`, `info!` and `debug!`: a text for whoever listens, which is what the crate `log` has installed.
//!
//! `log`'s own macros hand over the module and the line as well, which nobody here reads, and ask for the level wherever they
//! stand; that took 5 KB of the binary.

use std::fmt::Arguments;

use log::{Level, Record};

/// Tells `text`, unless `level` is one that nobody asked for.
#[cold]
#[inline(never)]
pub fn say(level: Level, text: Arguments<'_>) {
    if level <= log::max_level() {
        log::logger().log(&Record::builder().level(level).args(text).build());
    }
}

macro_rules! levels {
    ($($name:ident $level:ident)*) => { $(
        #[doc = concat!("What `", stringify!($name), "!` calls.")]
        #[cold]
        #[inline(never)]
        pub fn $name(text: Arguments<'_>) {
            say(Level::$level, text);
        }
    )* };
}
levels! { error Error warn Warn info Info debug Debug }

/// Tells what went wrong.
#[macro_export]
macro_rules! error {
    ($($text:tt)*) => { $crate::say::error(format_args!($($text)*)) };
}

/// Tells what may be wrong.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::say::warn(format_args!($($text)*)) };
}

/// Tells what is done.
#[macro_export]
macro_rules! info {
    ($($text:tt)*) => { $crate::say::info(format_args!($($text)*)) };
}

/// Tells what only who looks for a fault wants to know.
#[macro_export]
macro_rules! debug {
    ($($text:tt)*) => { $crate::say::debug(format_args!($($text)*)) };
}
