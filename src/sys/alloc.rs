//! The heap, counted: PID 1 allocates nothing once it has booted, a container's first process nothing before its
//! `execve`. Both promises are checked with the allocator that ships.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The system's allocator with a counter.
#[derive(Debug)]
pub struct Counting;

/// Allocations of this process and, up to the fork, of those it was forked from.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What `COUNT` was at the last [`mark`].
static MARK: AtomicU64 = AtomicU64::new(0);

/// Set by [`forbid`].
static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// Counts from here.
pub fn mark() {
    MARK.store(COUNT.load(Relaxed), Relaxed);
}

/// Allocations since [`mark`].
pub fn since_mark() -> u64 {
    COUNT.load(Relaxed).wrapping_sub(MARK.load(Relaxed))
}

/// From here on an allocation aborts this process. Debug builds only: a build that ships has nothing to check.
pub fn forbid() {
    FORBIDDEN.store(cfg!(debug_assertions), Relaxed);
}

fn count() {
    COUNT.fetch_add(1, Relaxed);
    if cfg!(debug_assertions) && FORBIDDEN.load(Relaxed) {
        const WORDS: &[u8] = b"mote: an allocation where none is allowed\n";
        // SAFETY: writes a static text of the length given; nothing here may allocate, so std's own output is out.
        unsafe { libc::write(2, WORDS.as_ptr().cast(), WORDS.len()) };
        std::process::abort();
    }
}

// SAFETY: every call goes to `System` unchanged, which keeps GlobalAlloc's promises; counting touches atomics only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; `ptr` came from `System`, which made all of them.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(ptr, layout) }
    }
}
