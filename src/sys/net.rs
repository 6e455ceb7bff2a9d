//! Network interfaces and namespace files: `ioctl(2)` of netdevice(7) and ioctl_ns(2).

use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use syscalls::{Sysno, syscall};

use super::checked;

/// Sets `lo` up in the caller's network namespace; the kernel adds 127.0.0.1 and ::1 itself.
/// Allocates nothing.
pub fn loopback_up() -> Result<(), Errno> {
    // A socket of any family takes the request. One of these needs no IPv4 and costs the kernel least.
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    interface_up(socket.as_fd(), c"lo")
}

/// `SIOCSIFFLAGS`: sets `IFF_UP` of the interface `name` in the network namespace that `socket` was made in.
/// Errors: `ENODEV` when there is no such interface, `ENAMETOOLONG`.
pub fn interface_up(socket: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    const IFF_UP: libc::c_short = 1;
    // SAFETY: ifreq is plain data, for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.to_bytes();
    if bytes.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, &from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // SAFETY: the kernel reads the name from, and writes the flags to, a whole ifreq that outlives the call.
    checked(unsafe { syscall!(Sysno::ioctl, socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: SIOCGIFFLAGS has filled in this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | IFF_UP;
    // SAFETY: as above.
    checked(unsafe { syscall!(Sysno::ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })
        .map(drop)
}

/// `NS_GET_NSTYPE`: the `CLONE_NEW*` flag of the namespace that `fd` is open on. Linux 4.11.
/// Errors: `ENOTTY` when it is open on something else.
pub fn namespace_type(fd: BorrowedFd<'_>) -> Result<i32, Errno> {
    const NS_GET_NSTYPE: u32 = 0xb703;
    // SAFETY: the call takes no third argument and touches no memory of ours.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE as _) })
}
