//! The memory that the program's own file is mapped into.

use libc::c_void;

unsafe extern "C" {
    /// Where the linker has put the beginning of the program.
    static __executable_start: u8;
    /// Where it has put the end of the code.
    static etext: u8;
}

/// `madvise(2)` for code and constants: pages that ran once, at the boot, no longer count as resident. Those that are
/// needed again are mapped again when they are touched, from the page cache or the initramfs.
///
/// For each page that is touched the kernel maps up to 16 that lie around it (`fault_around_bytes`), which soon is the whole
/// program again. It stops where a mapping ends, so every other piece gets an advice of its own: `MADV_RANDOM`, which
/// says no more than that, and makes each piece a mapping (some 200 bytes in the kernel).
pub fn release_code() {
    const PIECE: usize = 8 * 1024;
    let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
    let start = start / PIECE * PIECE;
    let len = end.saturating_sub(start) / PIECE * PIECE;
    let advise = |start: usize, len: usize, advice| {
        // SAFETY: these pages map the program's file and nobody has written to them, so that the kernel can bring each back as
        // it was; MADV_RANDOM changes what is read ahead. Where that cannot be done nothing changes.
        let _ = unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut::<c_void>(start), len, advice) };
    };
    advise(start, len, libc::MADV_DONTNEED);
    for piece in (start..start + len).step_by(2 * PIECE) {
        advise(piece, PIECE, libc::MADV_RANDOM);
    }
}

/// `madvise(MADV_DONTNEED)` for the stack below the caller: what the boot's deepest calls have touched.
#[inline(never)]
pub fn release_stack() {
    const PAGE: usize = 4096;
    let here = 0u8;
    // A page of distance: this function's own frame, and that of the call, stay.
    let end = ((&raw const here).addr() / PAGE - 1) * PAGE;
    let len = 20 * PAGE;
    // SAFETY: below the frame of the running function the stack holds nothing that anybody will read; the stack's
    // mapping reaches further down than that from the program's start on, and PID 1 has no signal handler.
    let _ = unsafe {
        libc::madvise(std::ptr::with_exposed_provenance_mut::<c_void>(end - len), len, libc::MADV_DONTNEED)
    };
}
