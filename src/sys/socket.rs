//! Unix sockets as the child needs them: without the buffers that nix allocates.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use syscalls::{Sysno, syscall};

use super::{checked, owned};

/// Room for one descriptor in a control message, aligned as `struct cmsghdr` is.
#[repr(C, align(8))]
struct Control {
    header: libc::cmsghdr,
    fd: i32,
    padding: i32,
}

/// `CMSG_LEN` and `CMSG_SPACE` of one descriptor. The fields they go into are wider on glibc than on musl.
const FD_LEN: u32 = 20;
const CONTROL_LEN: u32 = 24;
const _: () = assert!(size_of::<libc::cmsghdr>() + size_of::<i32>() == FD_LEN as usize);
const _: () = assert!(size_of::<Control>() == CONTROL_LEN as usize);

/// `socketpair(2)` of two connected stream sockets.
pub fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
}

/// `accept4(2)`: the next connection to a listening socket. Waits for one.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: no address is asked for; on success the result is a new descriptor that nobody else owns.
    let fd = checked(unsafe { syscall!(Sysno::accept4, listener.as_raw_fd(), 0, 0, libc::SOCK_CLOEXEC) })?;
    // SAFETY: as above.
    unsafe { owned(fd) }
}

/// `SO_PEERPIDFD` (unix(7)): a descriptor of the process that has connected. Linux 6.5.
/// Errors: `ENOPROTOOPT` before; `EINVAL` or `ESRCH` once it has been reaped, unless the kernel is newer than 6.15.
pub fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    const SO_PEERPIDFD: i32 = 77;
    let (mut fd, mut length): (RawFd, libc::socklen_t) = (-1, 4);
    let (of, to, size) = (socket.as_raw_fd(), &raw mut fd, &raw mut length);
    // SAFETY: the kernel writes a descriptor's four bytes and their number into live variables.
    checked(unsafe { syscall!(Sysno::getsockopt, of, libc::SOL_SOCKET, SO_PEERPIDFD, to, size) })?;
    // SAFETY: as above; the descriptor is new, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `sendto(2)` without an address and without SIGPIPE.
pub fn send(socket: BorrowedFd<'_>, message: &[u8]) -> Result<(), Errno> {
    let (fd, bytes, len) = (socket.as_raw_fd(), message.as_ptr(), message.len());
    // SAFETY: the kernel reads `len` bytes of a live slice.
    checked(unsafe { syscall!(Sysno::sendto, fd, bytes, len, libc::MSG_NOSIGNAL, 0, 0) }).map(drop)
}

/// `sendmsg(2)`: sends a message with one descriptor (`SCM_RIGHTS`, unix(7)).
pub fn send_fd(socket: BorrowedFd<'_>, message: &[u8], fd: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: all-zero bytes are valid for these plain C structs, which have padding on musl.
    let (mut control, mut header): (Control, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    control.header.cmsg_len = FD_LEN as _;
    control.header.cmsg_level = libc::SOL_SOCKET;
    control.header.cmsg_type = libc::SCM_RIGHTS;
    control.fd = fd.as_raw_fd();
    let mut part = libc::iovec { iov_base: message.as_ptr().cast_mut().cast(), iov_len: message.len() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = CONTROL_LEN as _;
    // SAFETY: header, part, control and message outlive the call; the kernel only reads them.
    checked(unsafe { syscall!(Sysno::sendmsg, socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) })
        .map(drop)
}

/// `recvmsg(2)`: waits for a message with one descriptor.
/// Errors: `EPROTO` when it has none.
pub fn receive_fd(socket: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    receive(socket, &mut [0; 64])?.1.ok_or(Errno::EPROTO)
}

/// `recvmsg(2)`: waits for a message, which may bring one descriptor along. Returns how many bytes it has, 0 at the end.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    // SAFETY: as in `send_fd`.
    let (mut control, mut header): (Control, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = CONTROL_LEN as _;
    // SAFETY: header, part, control and bytes outlive the call, with the lengths given.
    let len = checked(unsafe {
        syscall!(Sysno::recvmsg, socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC)
    })?;
    // Without a descriptor the kernel leaves the header as it was: zeros, which are neither this level nor this type.
    if (control.header.cmsg_level, control.header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return Ok((len, None));
    }
    // SAFETY: the kernel has put a new descriptor, owned by nobody else, into the control message.
    Ok((len, Some(unsafe { OwnedFd::from_raw_fd(control.fd) })))
}

/// Room for a sender's credentials in a control message, and for nothing else.
#[repr(C, align(8))]
struct Credentials {
    header: libc::cmsghdr,
    pid: i32,
    uid: u32,
    gid: u32,
    padding: u32,
}

/// `CMSG_SPACE` of `struct ucred`.
const CREDENTIALS_LEN: u32 = 32;
const _: () = assert!(size_of::<Credentials>() == CREDENTIALS_LEN as usize);

/// `recvmsg(2)` on a socket with `SO_PASSCRED` (unix(7)), without waiting. Returns the length of the message and who sent it:
/// the number that the process has here, 0 for one that has none. Descriptors that come along are closed by the kernel, as
/// there is no room for them. A message that `bytes` cannot hold has length 0.
/// Errors: `EAGAIN` when there is none.
pub fn receive_from(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, i32), Errno> {
    // SAFETY: as in `send_fd`.
    let (mut control, mut header): (Credentials, libc::msghdr) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = CREDENTIALS_LEN as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: header, part, control and bytes outlive the call, with the lengths given.
    let len = checked(unsafe { syscall!(Sysno::recvmsg, socket.as_raw_fd(), &raw mut header, flags) })?;
    // `SCM_CREDENTIALS` of the kernel's include/linux/socket.h, which musl hides.
    let known = (control.header.cmsg_level, control.header.cmsg_type) == (libc::SOL_SOCKET, 2);
    let whole = header.msg_flags & libc::MSG_TRUNC == 0;
    Ok((if whole { len } else { 0 }, if known { control.pid } else { 0 }))
}
