//! Moves network devices of the host into the container's network namespace, by rtnetlink(7): address, name and state go
//! along. The parent does it while the child waits.
//!
//! The kernel takes a device down and its addresses away when it changes namespaces, so those of global scope that somebody
//! set (and no protocol, whose leases are of the other namespace) are read before and set again after; runtime-spec
//! config-linux.md "Network Devices".

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;

use crate::error::{Error, Result};
use crate::plan::NetDevice;
use crate::rtnetlink::{
    IFA_ADDRESS, IFA_BROADCAST, IFA_LOCAL, IFF_UP, IFLA_IFNAME, IFLA_NET_NS_FD, RTM_NEWADDR, find, link,
};
use crate::sys::clone::setns;
use crate::sys::file;
use crate::sys::netlink::{Message, Socket, attribute, attributes};

// Of include/uapi/linux/rtnetlink.h, if_link.h and if_addr.h
const RTM_GETADDR: u16 = 22;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_PERMANENT: u32 = 0x80;
/// `IFA_F_NODAD`, `IFA_F_NOPREFIXROUTE`: what somebody who sets an address can ask for.
const IFA_F_KEPT: u32 = 0x02 | 0x200;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// A network namespace: open on it, and a socket in it.
#[derive(Debug)]
struct Side {
    namespace: OwnedFd,
    socket: Socket,
}

/// An address: `struct ifaddrmsg` without the index, and the attributes that are kept.
#[derive(Debug)]
struct Address {
    head: [u8; 4],
    attributes: Vec<u8>,
}

/// A device that has been moved, and what it had on the host.
#[derive(Debug)]
struct Gone<'p> {
    device: &'p NetDevice<'p>,
    up: bool,
    addresses: Vec<Address>,
}

/// Devices that have been moved. Dropped, they are moved back, unless [`Moved::keep`] was called.
#[derive(Debug)]
pub struct Moved<'p> {
    host: Side,
    container: Side,
    devices: Vec<Gone<'p>>,
}

/// Refuses devices that are not there, before anything is made.
pub fn check(devices: &[NetDevice<'_>]) -> std::result::Result<(), (usize, Errno)> {
    if devices.is_empty() {
        return Ok(());
    }
    let socket = Socket::open().map_err(|errno| (0, errno))?;
    devices
        .iter()
        .enumerate()
        .try_for_each(|(i, device)| find(&socket, device.name).map(drop).map_err(|errno| (i, errno)))
}

/// Moves the devices into the network namespace of the process behind `pidfd`.
pub fn enter<'p>(devices: &'p [NetDevice<'p>], pidfd: BorrowedFd<'_>) -> Result<Moved<'p>> {
    let sides = sides(pidfd).map_err(|errno| Error::child(format_args!("linux.netDevices"), errno));
    let (host, container) = sides?;
    let mut moved = Moved { host, container, devices: Vec::with_capacity(devices.len()) };
    for device in devices {
        moved.enter(device).map_err(|errno| {
            let (name, inside) = (device.name.to_string_lossy(), device.inside.to_string_lossy());
            Error::child(format_args!("linux.netDevices[\"{name}\"]: move to \"{inside}\""), errno)
        })?;
    }
    Ok(moved)
}

/// A socket in the caller's network namespace, and one in that of `pidfd`. The caller is back in its own afterwards.
fn sides(pidfd: BorrowedFd<'_>) -> nix::Result<(Side, Side)> {
    let here = || {
        let namespace = file::open(c"/proc/self/ns/net", OFlag::O_RDONLY)?;
        Ok(Side { namespace, socket: Socket::open()? })
    };
    let host: Side = here()?;
    setns(pidfd, CloneFlags::CLONE_NEWNET)?; // a pidfd serves since Linux 5.8
    let container = here();
    setns(host.namespace.as_fd(), CloneFlags::CLONE_NEWNET)?;
    container.map(|container| (host, container))
}

impl<'p> Moved<'p> {
    fn enter(&mut self, device: &'p NetDevice<'p>) -> nix::Result<()> {
        let found = find(&self.host.socket, device.name)?;
        // Renamed on the other side, where a name that is taken would leave it half way.
        match find(&self.container.socket, device.inside) {
            Err(Errno::ENODEV) => {}
            Ok(_) => return Err(Errno::EEXIST),
            Err(errno) => return Err(errno),
        }
        let addresses = addresses(&self.host.socket, found.index)?;
        pass(&self.host, found.index, &self.container, device.inside)?;
        self.devices.push(Gone { device, up: found.up, addresses });
        let addresses = self.devices.last().map_or(&[][..], |gone| &gone.addresses);
        settle(&self.container.socket, device.inside, addresses, true)
    }

    /// Leaves the devices where they are.
    pub fn keep(mut self) {
        self.devices.clear();
    }
}

impl Drop for Moved<'_> {
    fn drop(&mut self) {
        // The failure that led here is what is told; these are best effort on top of it.
        for Gone { device, up, addresses } in &self.devices {
            let back = find(&self.container.socket, device.inside)
                .and_then(|found| pass(&self.container, found.index, &self.host, device.name));
            let _ = back.and_then(|()| settle(&self.host.socket, device.name, addresses, *up));
        }
    }
}

/// The addresses of a device that go along.
fn addresses(socket: &Socket, index: i32) -> nix::Result<Vec<Address>> {
    let mut found = Vec::new();
    socket.transact(Message::new(RTM_GETADDR, Message::DUMP, &[0; 8]), |kind, body| {
        let Some((head, rest)) = body.split_first_chunk::<8>() else { return };
        let [family, prefix, flags, scope, of @ ..] = *head;
        if kind != RTM_NEWADDR || i32::from_ne_bytes(of) != index || scope != RT_SCOPE_UNIVERSE {
            return;
        }
        let mut all = u32::from(flags);
        let mut kept = Vec::new();
        for (kind, value) in attributes(rest) {
            match kind {
                IFA_FLAGS => all = value.try_into().map_or(all, u32::from_ne_bytes),
                IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY => {
                    attribute(&mut kept, kind, value)
                }
                _ => {}
            }
        }
        if all & IFA_F_PERMANENT != 0 {
            attribute(&mut kept, IFA_FLAGS, &(all & IFA_F_KEPT).to_ne_bytes());
            found.push(Address { head: [family, prefix, 0, scope], attributes: kept });
        }
    })?;
    Ok(found)
}

/// Moves a device to the other side and gives it the name it has there.
fn pass(from: &Side, index: i32, to: &Side, name: &CStr) -> nix::Result<()> {
    use std::os::fd::AsRawFd as _;
    let mut message = link(index, 0);
    message.attribute(IFLA_NET_NS_FD, &to.namespace.as_raw_fd().to_ne_bytes());
    message.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
    from.socket.transact(message, |_, _| {})
}

/// Gives a device its addresses back and takes it up.
fn settle(socket: &Socket, name: &CStr, addresses: &[Address], up: bool) -> nix::Result<()> {
    let index = find(socket, name)?.index; // another one, where its own was taken
    for address in addresses {
        let [family, prefix, flags, scope] = address.head;
        let [i0, i1, i2, i3] = index.to_ne_bytes();
        let mut message =
            Message::new(RTM_NEWADDR, Message::CREATE, &[family, prefix, flags, scope, i0, i1, i2, i3]);
        message.append(&address.attributes);
        socket.transact(message, |_, _| {})?;
    }
    if up { socket.transact(link(index, IFF_UP), |_, _| {}) } else { Ok(()) }
}
