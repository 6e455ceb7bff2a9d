//! Mode `bridge`: a pair of interfaces, one end in the pod, the other a port of a bridge that mote makes.

use std::ffi::CString;
use std::net::Ipv4Addr;

use mote::error::{During as _, Error, Result};
use mote::rtnetlink::{self, End};
use mote::sys::netlink::Socket;
use nix::errno::Errno;

use super::record::{Record, Records};
use super::settings::Settings;
use super::{INTERFACE, Sides, Work, interface, needs, ports};
use crate::manifest::Network;

/// The port of the pod with this address: a name that needs no table.
pub fn port_name(address: Ipv4Addr) -> CString {
    CString::new(format!("mv{:08x}", address.to_bits())).unwrap_or_default()
}

/// The hardware address of an interface follows from its address, so that no neighbour remembers a wrong one.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// Makes it all.
pub fn add(work: &Work<'_>, network: &Network, sides: &Sides<'_>) -> Result<()> {
    let settings = &work.settings;
    let (record, bridge) = {
        let _lock = work.records.lock()?;
        let record = claim(work, network, &sides.host)?;
        let bridge = make_bridge(&work.records, settings, &sides.host)?;
        ports::update(&work.records, settings)?;
        (record, bridge)
    };
    let end = End {
        name: INTERFACE,
        namespace: sides.namespace,
        address: hardware(record.address),
        mtu: settings.mtu,
    };
    let port = port_name(record.address);
    // What one who was killed has left of it.
    rtnetlink::delete(&sides.host, &port).during("delete", port.as_c_str())?;
    rtnetlink::delete(&sides.pod, INTERFACE).during("delete", INTERFACE)?;
    needs(rtnetlink::veth(&sides.host, &port, bridge, &end), "veth", "CONFIG_VETH")?;
    let device = rtnetlink::find(&sides.host, &port).during("find", port.as_c_str())?;
    rtnetlink::hairpin(&sides.host, device.index).during("hairpin", port.as_c_str())?;
    let inside = rtnetlink::find(&sides.pod, INTERFACE).during("find", INTERFACE)?;
    rtnetlink::address(&sides.pod, inside.index, record.address, record.prefix)
        .during("address", INTERFACE)?;
    rtnetlink::up(&sides.pod, inside.index).during("set up", INTERFACE)?;
    rtnetlink::default_route(&sides.pod, settings.gateway).during("route", INTERFACE)?;
    if settings.own_gateway {
        forward(settings)?;
    }
    work.records.write(work.pod, &Record { ready: true, ..record })
}

/// Takes an address and the pod's ports, and writes that down.
fn claim(work: &Work<'_>, network: &Network, host: &Socket) -> Result<Record> {
    let settings = &work.settings;
    let others = work.records.others(work.pod);
    ports::check(work.pod, &network.ports, &others)?;
    // A port goes with the namespace that it leads to: one without a record is that of a pod whose record was lost.
    let lost = |address| rtnetlink::find(host, &port_name(address)).is_ok();
    let taken = |address: Ipv4Addr| {
        let known = address == settings.gateway || others.iter().any(|(_, record)| record.address == address);
        known || lost(address)
    };
    let (base, prefix) = settings.subnet;
    let wrong = |why: String| Error::config(work.pod, "metadata.annotations[\"mote/network-address\"]", why);
    let address = match network.address {
        Some((address, _)) => {
            let host = address.to_bits() & (u32::MAX >> prefix);
            let (inside, all) = (address.to_bits() - host == base.to_bits(), u32::MAX >> prefix);
            if !inside || host == 0 || host == all {
                return Err(wrong(format!("expected an address in {base}/{prefix}")));
            }
            if taken(address) {
                let owner = others.iter().find(|(_, record)| record.address == address);
                let owner = match owner {
                    Some((name, _)) => format!("pod {name}"),
                    None if address == settings.gateway => "the gateway".to_owned(),
                    None => format!("the port {}", port_name(address).to_string_lossy()),
                };
                return Err(wrong(format!("{address} is taken by {owner}")));
            }
            address
        }
        None => (settings.range.0.to_bits()..=settings.range.1.to_bits())
            .map(Ipv4Addr::from_bits)
            .find(|address| !taken(*address))
            .ok_or_else(|| {
                let (first, last) = settings.range;
                Error::usage(format_args!("network: no address is left of {first} to {last}"))
            })?,
    };
    let record = Record { address, prefix, parent: settings.bridge.clone(), ..Record::new(network) };
    work.records.write(work.pod, &record)?;
    Ok(record)
}

/// Finds the bridge or makes it, and gives its number.
fn make_bridge(records: &Records, settings: &Settings, socket: &Socket) -> Result<i32> {
    let name = interface(&settings.bridge)?;
    let device = match rtnetlink::find(socket, &name) {
        Err(Errno::ENODEV) => {
            records.mark("bridge")?;
            let made = rtnetlink::bridge(socket, &name, hardware(settings.gateway), settings.mtu);
            needs(made, &format!("bridge {}", settings.bridge), "CONFIG_BRIDGE")?;
            rtnetlink::find(socket, &name).during("find", name.as_c_str())?
        }
        found => found.during("find", name.as_c_str())?,
    };
    if device.kind != "bridge" {
        return Err(Error::usage(format_args!("network: {} is no bridge", settings.bridge)));
    }
    if settings.own_gateway {
        rtnetlink::address(socket, device.index, settings.gateway, settings.subnet.1)
            .during("address", name.as_c_str())?;
    }
    if !device.up {
        rtnetlink::up(socket, device.index).during("set up", name.as_c_str())?;
    }
    Ok(device.index)
}

/// Has the device pass on what pods send elsewhere, and what comes by 127.0.0.1 to a port of theirs.
fn forward(settings: &Settings) -> Result<()> {
    set("/proc/sys/net/ipv4/ip_forward")?;
    // What the bridge would let pods reach by it is refused by a rule; see ports.rs.
    set(&format!("/proc/sys/net/ipv4/conf/{}/route_localnet", settings.bridge))
}

/// Writes 1 where there is something else.
fn set(path: &str) -> Result<()> {
    if std::fs::read(path).is_ok_and(|value| value == b"1\n") {
        return Ok(());
    }
    std::fs::write(path, "1").during("write", path)
}

/// Removes the bridge, if mote has made it.
pub fn remove(records: &Records, settings: &Settings) {
    if records.unmark("bridge")
        && let (Ok(socket), Ok(name)) = (Socket::open(), interface(&settings.bridge))
        && let Err(errno) = rtnetlink::delete(&socket, &name)
    {
        mote::warn!("delete {}: {}; it stays", settings.bridge, mote::error::words(errno));
    }
}
