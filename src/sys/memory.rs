//! The memory that the program's own file is mapped into.

use libc::c_void;

unsafe extern "C" {
    /// Where the linker has put the beginning of the program.
    static __executable_start: u8;
    /// Where it has put the end of the code.
    static etext: u8;
}

/// `madvise(MADV_DONTNEED)` for code and constants: pages that ran once, at the boot, no longer count as resident. Those that are
/// needed again are mapped again when they are touched, from the page cache or the initramfs.
pub fn release_code() {
    const PAGE: usize = 4096;
    let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
    let start = start / PAGE * PAGE;
    let len = end.saturating_sub(start) / PAGE * PAGE;
    // SAFETY: these pages map the program's file and nobody has written to them, so that the kernel can bring each back as it
    // was. Where that cannot be done nothing changes.
    let _ = unsafe {
        libc::madvise(std::ptr::with_exposed_provenance_mut::<c_void>(start), len, libc::MADV_DONTNEED)
    };
}
