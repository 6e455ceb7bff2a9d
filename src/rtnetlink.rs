//! Interfaces, addresses and routes by rtnetlink(7): what `ip link`, `ip addr` and `ip route` do. A [`Socket`] stands for the
//! network namespace that it was opened in.

use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

use crate::sys::netlink::{Message, Socket, attribute, attributes};

// Of include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, veth.h; shared with those that have messages of their own
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
pub(crate) const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_ADDRESS: u16 = 1;
pub(crate) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
pub(crate) const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const NLA_F_NESTED: u16 = 0x8000;
pub(crate) const IFA_ADDRESS: u16 = 1;
pub(crate) const IFA_LOCAL: u16 = 2;
pub(crate) const IFA_BROADCAST: u16 = 4;
const RTA_GATEWAY: u16 = 5;
pub(crate) const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;

/// What is known of a device.
#[derive(Debug)]
pub struct Device {
    /// Its number in its namespace.
    pub index: i32,
    /// Whether it is up.
    pub up: bool,
    /// Its hardware address; zeros for one without.
    pub address: [u8; 6],
    /// What it is where it is no hardware: `bridge`, `veth`.
    pub kind: String,
}

/// How a `macvlan` deals with its siblings, of include/uapi/linux/if_link.h.
pub const MACVLAN_MODES: &[(&str, u32)] = &[("private", 1), ("vepa", 2), ("bridge", 4), ("passthru", 8)];

/// One end of what is to be made.
#[derive(Debug)]
pub struct End<'a> {
    /// Its name.
    pub name: &'a CStr,
    /// The network namespace it is in.
    pub namespace: BorrowedFd<'a>,
    /// Its hardware address.
    pub address: [u8; 6],
    /// In bytes; 0 for the kernel's choice.
    pub mtu: u32,
}

/// Looks a device up by its name.
/// Errors: `ENODEV` when there is none.
pub fn find(socket: &Socket, name: &CStr) -> Result<Device, Errno> {
    let mut message = Message::new(RTM_GETLINK, 0, &[0; 16]);
    message.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
    let mut found = None;
    socket.transact(message, |kind, body| {
        if let (RTM_NEWLINK, [_, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, _, _, _, _, rest @ ..]) =
            (kind, body)
        {
            let (index, flags) = ([*i0, *i1, *i2, *i3], [*f0, *f1, *f2, *f3]);
            let up = u32::from_ne_bytes(flags) & IFF_UP != 0;
            let mut device =
                Device { index: i32::from_ne_bytes(index), up, address: [0; 6], kind: String::new() };
            for (kind, value) in attributes(rest) {
                match kind {
                    IFLA_ADDRESS => device.address = value.try_into().unwrap_or_default(),
                    IFLA_LINKINFO => {
                        let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                        let kind = kind.map_or(&b""[..], |(_, value)| value);
                        device.kind = String::from_utf8_lossy(kind).trim_end_matches('\0').to_owned();
                    }
                    _ => {}
                }
            }
            found = Some(device);
        }
    })?;
    found.ok_or(Errno::ENODEV)
}

/// `struct ifinfomsg` that changes `IFF_UP` to what `flags` say.
pub(crate) fn link(index: i32, flags: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &ifinfomsg(0, index, flags))
}

/// `struct ifinfomsg` with `IFF_UP` to be what `flags` say.
fn ifinfomsg(family: u8, index: i32, flags: u32) -> [u8; 16] {
    let ([i0, i1, i2, i3], [f0, f1, f2, f3]) = (index.to_ne_bytes(), flags.to_ne_bytes());
    let [c0, c1, c2, c3] = IFF_UP.to_ne_bytes();
    [family, 0, 0, 0, i0, i1, i2, i3, f0, f1, f2, f3, c0, c1, c2, c3]
}

/// Takes a device up.
pub fn up(socket: &Socket, index: i32) -> Result<(), Errno> {
    socket.transact(link(index, IFF_UP), |_, _| {})
}

/// Removes the device `name`, and the other end with it. Idempotent.
pub fn delete(socket: &Socket, name: &CStr) -> Result<(), Errno> {
    let mut message = Message::new(RTM_DELLINK, 0, &[0; 16]);
    message.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
    match socket.transact(message, |_, _| {}) {
        Err(Errno::ENODEV) => Ok(()),
        result => result,
    }
}

/// Makes a bridge, up.
/// Errors: `EOPNOTSUPP` where the kernel has none, `EEXIST`.
pub fn bridge(socket: &Socket, name: &CStr, address: [u8; 6], mtu: u32) -> Result<(), Errno> {
    let mut message = Message::new(RTM_NEWLINK, Message::CREATE, &ifinfomsg(0, 0, IFF_UP));
    message.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
    // One that was set stays; the kernel's own choice follows the ports that come and go.
    message.attribute(IFLA_ADDRESS, &address);
    if mtu != 0 {
        message.attribute(IFLA_MTU, &mtu.to_ne_bytes());
    }
    message.attribute(IFLA_LINKINFO, &info("bridge", &[]));
    socket.transact(message, |_, _| {})
}

/// Makes a pair of devices: `name` here, up and a port of the bridge with the number `master`, and `end`.
/// Errors: `EOPNOTSUPP` where the kernel has none, `EEXIST`.
pub fn veth(socket: &Socket, name: &CStr, master: i32, end: &End<'_>) -> Result<(), Errno> {
    let mut peer = ifinfomsg(0, 0, 0).to_vec();
    end.describe(&mut |kind, value| attribute(&mut peer, kind, value));
    let mut data = Vec::new();
    attribute(&mut data, VETH_INFO_PEER | NLA_F_NESTED, &peer);
    let mut message = Message::new(RTM_NEWLINK, Message::CREATE, &ifinfomsg(0, 0, IFF_UP));
    message.attribute(IFLA_IFNAME, name.to_bytes_with_nul());
    message.attribute(IFLA_MASTER, &master.to_ne_bytes());
    if end.mtu != 0 {
        message.attribute(IFLA_MTU, &end.mtu.to_ne_bytes());
    }
    message.attribute(IFLA_LINKINFO, &info("veth", &data));
    socket.transact(message, |_, _| {})
}

/// Makes a device of kind macvlan on the one with the number `parent`.
/// Errors: `EOPNOTSUPP` where the kernel has none, `EEXIST`, `EBUSY` where the parent is a port of something.
pub fn macvlan(socket: &Socket, parent: i32, mode: u32, end: &End<'_>) -> Result<(), Errno> {
    let mut data = Vec::new();
    attribute(&mut data, IFLA_MACVLAN_MODE, &mode.to_ne_bytes());
    let mut message = Message::new(RTM_NEWLINK, Message::CREATE, &ifinfomsg(0, 0, 0));
    end.describe(&mut |kind, value| message.attribute(kind, value));
    message.attribute(IFLA_LINK, &parent.to_ne_bytes());
    message.attribute(IFLA_LINKINFO, &info("macvlan", &data));
    socket.transact(message, |_, _| {})
}

impl End<'_> {
    fn describe(&self, put: &mut dyn FnMut(u16, &[u8])) {
        put(IFLA_IFNAME, self.name.to_bytes_with_nul());
        put(IFLA_NET_NS_FD, &self.namespace.as_raw_fd().to_ne_bytes());
        put(IFLA_ADDRESS, &self.address);
        if self.mtu != 0 {
            put(IFLA_MTU, &self.mtu.to_ne_bytes());
        }
    }
}

fn info(kind: &str, data: &[u8]) -> Vec<u8> {
    let mut info = Vec::new();
    attribute(&mut info, IFLA_INFO_KIND, kind.as_bytes());
    if !data.is_empty() {
        attribute(&mut info, IFLA_INFO_DATA | NLA_F_NESTED, data);
    }
    info
}

/// Lets a port of a bridge send back what came in by it: a pod that reaches itself by the device's address.
pub fn hairpin(socket: &Socket, index: i32) -> Result<(), Errno> {
    let mut message = Message::new(RTM_SETLINK, 0, &ifinfomsg(AF_BRIDGE, index, IFF_UP));
    let mut port = Vec::new();
    attribute(&mut port, IFLA_BRPORT_MODE, &[1]);
    message.attribute(IFLA_PROTINFO | NLA_F_NESTED, &port);
    socket.transact(message, |_, _| {})
}

/// Gives a device an address; one that it has stays. The kernel adds the route to its network.
pub fn address(socket: &Socket, index: i32, address: Ipv4Addr, prefix: u8) -> Result<(), Errno> {
    let [i0, i1, i2, i3] = index.to_ne_bytes();
    let mut message = Message::new(RTM_NEWADDR, Message::CREATE, &[AF_INET, prefix, 0, 0, i0, i1, i2, i3]);
    message.attribute(IFA_LOCAL, &address.octets());
    message.attribute(IFA_ADDRESS, &address.octets());
    if prefix < 31 {
        let broadcast = Ipv4Addr::from_bits(address.to_bits() | u32::MAX >> prefix);
        message.attribute(IFA_BROADCAST, &broadcast.octets());
    }
    match socket.transact(message, |_, _| {}) {
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// Adds the default route by `gateway`; one that is there stays.
/// Errors: `ENETUNREACH` where the gateway is in no network of an interface that is up.
pub fn default_route(socket: &Socket, gateway: Ipv4Addr) -> Result<(), Errno> {
    const RT_TABLE_MAIN: u8 = 254;
    const RTPROT_BOOT: u8 = 3;
    const RTN_UNICAST: u8 = 1;
    // struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags
    let body = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    let mut message = Message::new(RTM_NEWROUTE, Message::CREATE, &body);
    message.attribute(RTA_GATEWAY, &gateway.octets());
    match socket.transact(message, |_, _| {}) {
        Err(Errno::EEXIST) => Ok(()),
        result => result,
    }
}
