//! Messages of netlink(7) to the kernel's routing family and to netfilter, and their answers.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `struct nlmsghdr`
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;

/// A request.
#[derive(Debug)]
pub struct Message(Vec<u8>);

impl Message {
    /// `NLM_F_DUMP`: asks for all there are.
    pub const DUMP: u16 = 0x300;
    /// `NLM_F_CREATE | NLM_F_EXCL`: makes something that must not be there yet.
    pub const CREATE: u16 = 0x600;
    /// `NLM_F_CREATE`: makes something unless it is there.
    pub const MAKE: u16 = 0x400;
    /// `NLM_F_CREATE | NLM_F_APPEND`: makes something behind what is there.
    pub const APPEND: u16 = 0xc00;

    /// A request with its fixed part.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        // With an acknowledgement each answer has an end; a dump has its own.
        let flags = flags | NLM_F_REQUEST | if flags & Self::DUMP == Self::DUMP { 0 } else { NLM_F_ACK };
        let mut bytes = vec![0; 4]; // the length comes last
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]); // sequence and port: there is one request at a time on a socket
        bytes.extend(body);
        Self(bytes)
    }

    /// A part of a batch, which is acknowledged by nothing: only what fails is answered.
    pub fn part(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut message = Self::new(kind, flags, body);
        if let Some(place) = message.0.get_mut(6..8) {
            place.copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        }
        message
    }

    /// Adds an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        attribute(&mut self.0, kind, value);
    }

    /// Adds attributes that were put together before.
    pub fn append(&mut self, attributes: &[u8]) {
        self.0.extend(attributes);
    }

    /// The message as it is sent, with its number among others.
    fn finish(mut self, number: u32) -> Result<Vec<u8>, Errno> {
        let length = u32::try_from(self.0.len()).map_err(|_| Errno::EMSGSIZE)?;
        for (at, word) in [(0, length), (8, number)] {
            if let Some(place) = self.0.get_mut(at..at + 4) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        Ok(self.0)
    }
}

/// Adds one attribute to others: length, kind, value, padded to four bytes.
pub fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// The attributes in a message, by kind.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The two highest bits are flags.
        Some((u16::from_ne_bytes([k0, k1]) & 0x3fff, value))
    })
}

/// A socket, bound to the network namespace that it was made in.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Opens one in the caller's network namespace.
    pub fn open() -> Result<Self, Errno> {
        Self::to(SockProtocol::NetlinkRoute)
    }

    /// As [`Socket::open`], to netfilter.
    /// Errors: `EPROTONOSUPPORT` where the kernel has none.
    pub fn netfilter() -> Result<Self, Errno> {
        Self::to(SockProtocol::NetlinkNetFilter)
    }

    fn to(protocol: SockProtocol) -> Result<Self, Errno> {
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).map(Self)
    }

    /// Sends a request and reads its answer to the end, handing each message of it to `each`: its kind and its body.
    /// Errors: what the kernel answers.
    pub fn transact(&self, message: Message, mut each: impl FnMut(u16, &[u8])) -> Result<(), Errno> {
        let bytes = message.finish(0)?;
        send(self.0.as_raw_fd(), &bytes, MsgFlags::empty())?;
        // As large as the kernel makes the parts of a dump.
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                result => result?,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some(header) = rest.first_chunk::<HEADER>() {
                let [l0, l1, l2, l3, k0, k1, ..] = *header;
                let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
                let body = rest.get(HEADER..length).ok_or(Errno::EBADMSG)?;
                match u16::from_ne_bytes([k0, k1]) {
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        // Zero is the acknowledgement.
                        return if code < 0 { Err(Errno::from_raw(-code)) } else { Ok(()) };
                    }
                    kind => each(kind, body),
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

impl Socket {
    /// Sends messages that count together or not at all, and reads which of them fails first, by its place, and how.
    ///
    /// netfilter answers while it takes them, so what is to be said is there when the call comes back.
    pub fn batch(&self, messages: Vec<Message>) -> Result<(), (usize, Errno)> {
        let mut bytes = Vec::new();
        for (number, message) in (0..).zip(messages) {
            bytes.extend(message.finish(number).map_err(|errno| (0, errno))?);
        }
        send(self.0.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(|errno| (0, errno))?;
        let mut buffer = vec![0; 32 * 1024];
        let mut first = Ok(());
        loop {
            let length = match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => return first,
                Err(errno) => return first.and(Err((0, errno))),
                Ok(length) => length,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            // nlmsghdr: length, kind, flags, number, port; then the error
            while let Some([l0, l1, l2, l3, k0, k1, _, _, n0, n1, n2, n3, _, _, _, _, e0, e1, e2, e3]) =
                rest.first_chunk::<20>()
            {
                let code = i32::from_ne_bytes([*e0, *e1, *e2, *e3]);
                if u16::from_ne_bytes([*k0, *k1]) == NLMSG_ERROR && code < 0 && first.is_ok() {
                    let number = usize::try_from(u32::from_ne_bytes([*n0, *n1, *n2, *n3])).unwrap_or(0);
                    first = Err((number, Errno::from_raw(-code)));
                }
                let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
                rest = rest.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back() {
        let mut bytes = Vec::new();
        attribute(&mut bytes, 3, b"eth0\0");
        attribute(&mut bytes, 0x8008, &[1, 2, 3, 4]);
        attribute(&mut bytes, 1, b"");
        assert_eq!(bytes.len(), 12 + 8 + 4);
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read, [(3, b"eth0\0".as_slice()), (8, &[1, 2, 3, 4]), (1, b"")]);
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0, "cut off");
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0, "a length that is none");
    }
}
