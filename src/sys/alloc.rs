//! The heap, counted: PID 1 allocates nothing once it has booted, a container's first process nothing before its
//! `execve`. Both promises are checked with the allocator that ships.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};

/// An arena, then the system's allocator, with a counter.
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

/// What is allocated now is here to stay. What comes is not: whenever the last block of it is given up, all of its room in the
/// arena is free again, whatever the order. For a loop whose rounds leave nothing behind.
pub fn keep() {
    ARENA.keep();
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

/// How much the arena holds: all that a boot or a plain `run` allocates.
const ARENA_BYTES: usize = 64 * 1024;

/// Memory handed out from its start on, and taken back only from its end, or when all beyond [`keep`] is given up: most of what mote allocates is small and lives
/// until a process ends that does not live long. What does not fit comes from [`System`], whose start alone takes five
/// system calls and, on an emulated processor, milliseconds. Zeroed memory of the program: a page costs nothing before its
/// first use.
struct Arena {
    memory: UnsafeCell<[u8; ARENA_BYTES]>,
    /// Where the free part begins.
    next: AtomicUsize,
    /// Up to where memory has ever been handed out; beyond it is zero.
    used: AtomicUsize,
    /// Where the part begins that is free again once nobody has a block of it.
    floor: AtomicUsize,
    /// How many blocks beyond `floor` somebody has, or is about to have.
    live: AtomicUsize,
}

// SAFETY: `memory` is only touched through the pointers handed out, and `next` hands no byte out twice.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena::new();

impl Arena {
    const fn new() -> Self {
        Self {
            memory: UnsafeCell::new([0; ARENA_BYTES]),
            next: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
            floor: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
        }
    }

    fn keep(&self) {
        // Not with another thread at work: its block might be counted on the wrong side.
        self.floor.store(self.next.load(Relaxed), Relaxed);
        self.live.store(0, Relaxed);
    }

    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Where in the arena `ptr` points to; `None` for memory of the system's.
    fn offset(&self, ptr: *const u8) -> Option<usize> {
        ptr.addr().checked_sub(self.start().addr()).filter(|offset| *offset < ARENA_BYTES)
    }

    /// Moves the start of the free part from `from` to `to`, unless another thread was faster.
    fn advance(&self, from: usize, to: usize) -> bool {
        let moved = self.next.compare_exchange(from, to, Relaxed, Relaxed).is_ok();
        if moved {
            self.used.fetch_max(to, Relaxed);
        }
        moved
    }

    /// Memory for `layout` and whether it is known to be zero; `None` when it does not fit.
    fn alloc(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        let next = self.next.load(Relaxed);
        let before = self.start().addr().checked_add(next)?;
        let begin = next.checked_add(before.next_multiple_of(layout.align()) - before)?;
        let end = begin.checked_add(layout.size()).filter(|end| *end <= ARENA_BYTES)?;
        let fresh = self.used.load(Relaxed) <= begin;
        // Counted before it can be had, so that nobody takes the part for free meanwhile.
        self.live.fetch_add(1, SeqCst);
        // A lost race is rare enough to leave to the system's allocator.
        if self.advance(next, end) {
            return Some((self.start().wrapping_add(begin), fresh));
        }
        self.live.fetch_sub(1, SeqCst);
        None
    }

    /// Takes back the block of `size` bytes at `offset`: its room, when it is the last one, or that of all beyond `floor`, when
    /// nobody has another.
    fn free(&self, offset: usize, size: usize) {
        self.resize(offset, size, 0);
        let floor = self.floor.load(Relaxed);
        if offset < floor {
            return;
        }
        // Read before the count goes down: whoever is handed a block after that moves it, and then it stays.
        let next = self.next.load(SeqCst);
        if self.live.fetch_sub(1, SeqCst) == 1 {
            self.advance(next, floor);
        }
    }

    /// Whether the block at `offset` could be made `new` bytes long where it is; it has to be the last one.
    fn resize(&self, offset: usize, old: usize, new: usize) -> bool {
        let end = offset.checked_add(new).filter(|end| *end <= ARENA_BYTES);
        end.is_some_and(|end| self.advance(offset + old, end))
    }
}

// SAFETY: a block is either the system's, and then goes back to it alone, or a part of the arena that no other block has
// while it lives: `next` only moves back over the last block, by whoever gives it up, or to `floor`, when no block beyond it
// lives. Counting touches atomics only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that `System` asks for.
        ARENA.alloc(layout).map_or_else(|| unsafe { System.alloc(layout) }, |(ptr, _)| ptr)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        match ARENA.alloc(layout) {
            Some((ptr, true)) => ptr,
            Some((ptr, false)) => {
                // SAFETY: the arena has just handed out so many bytes at `ptr`.
                unsafe { ptr.write_bytes(0, layout.size()) };
                ptr
            }
            // SAFETY: as above.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(offset) = ARENA.offset(ptr) else {
            count();
            // SAFETY: as above; what is not in the arena came from `System`.
            return unsafe { System.realloc(ptr, layout, new_size) };
        };
        if ARENA.resize(offset, layout.size(), new_size) {
            count();
            return ptr;
        }
        // SAFETY: the caller promises that `new_size` is one that a layout of this alignment may have.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !new.is_null() {
            // SAFETY: two blocks that both live, of at least so many bytes; then the old one is given up.
            unsafe {
                new.copy_from_nonoverlapping(ptr, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
        }
        new
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        match ARENA.offset(ptr) {
            Some(offset) => ARENA.free(offset, layout.size()),
            // SAFETY: as above.
            None => unsafe { System.dealloc(ptr, layout) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arena_hands_out_and_takes_back_from_its_end() {
        static OWN: Arena = Arena::new();
        let take = |size, align| {
            let (ptr, zero) =
                Layout::from_size_align(size, align).ok().and_then(|layout| OWN.alloc(layout))?;
            Some((OWN.offset(ptr)?, zero))
        };
        let Some((first, true)) = take(3, 1) else { unreachable!() };
        let Some((second, true)) = take(16, 16) else { unreachable!() };
        assert!(second >= first + 3 && (OWN.start().addr() + second).is_multiple_of(16));
        assert!(!OWN.resize(first, 3, 8), "not the last one");
        assert!(OWN.resize(second, 16, 32));
        assert!(OWN.resize(second, 32, 0));
        assert_eq!(take(16, 16), Some((second, false)), "has been used before");
        assert_eq!(take(ARENA_BYTES, 1), None);
        assert_eq!(OWN.offset((&raw const first).cast()), None);
        let rest = ARENA_BYTES - OWN.next.load(Relaxed);
        assert!(take(rest, 1).is_some() && take(1, 1).is_none());
    }

    #[test]
    fn what_comes_after_keep_is_free_once_all_of_it_is_given_up() {
        static OWN: Arena = Arena::new();
        let take = |size| {
            let (ptr, _) = Layout::from_size_align(size, 1).ok().and_then(|layout| OWN.alloc(layout))?;
            OWN.offset(ptr)
        };
        assert_eq!([take(10), take(20)], [Some(0), Some(10)]);
        OWN.keep();
        assert_eq!([take(5), take(6), take(7)], [Some(30), Some(35), Some(41)]);
        OWN.free(30, 5);
        OWN.free(35, 6);
        assert_eq!(take(1), Some(48), "one is left in front of it");
        OWN.free(41, 7);
        OWN.free(0, 10);
        assert_eq!(take(2), Some(49), "one that was kept does not count");
        OWN.free(48, 1);
        OWN.free(49, 2);
        assert_eq!(take(8), Some(30));
    }

    #[test]
    fn memory_keeps_its_bytes_while_it_grows_among_others() {
        let mut grown: Vec<Vec<usize>> = (0..8).map(|_| Vec::new()).collect();
        for n in 0..5_000 {
            grown[n % 8].push(n);
        }
        for (i, list) in grown.iter().enumerate() {
            assert!(list.iter().enumerate().all(|(k, n)| *n == k * 8 + i));
        }
        assert!(vec![0_u8; 3000].iter().all(|&byte| byte == 0));
    }
}
