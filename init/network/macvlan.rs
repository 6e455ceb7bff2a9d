//! Mode `macvlan`: an interface of the pod's own on the network that an interface of the device is in.

use std::net::Ipv4Addr;

use mote::error::{During as _, Error, Result};
use mote::rtnetlink::{self, End, MACVLAN_MODES};

use super::record::Record;
use super::{INTERFACE, Sides, Work, interface, needs};
use crate::manifest::Network;

/// Makes it.
pub fn add(work: &Work<'_>, network: &Network, sides: &Sides<'_>) -> Result<()> {
    let parent = network.parent.as_deref().unwrap_or_default();
    let name = interface(parent)?;
    let found = rtnetlink::find(&sides.host, &name).map_err(|errno| {
        let field = "metadata.annotations[\"mote/network-parent\"]";
        Error::config(work.pod, field, format!("\"{parent}\": {}", mote::error::words(errno)))
    })?;
    let (address, prefix) = network.address.unwrap_or((Ipv4Addr::UNSPECIFIED, 0));
    let record = Record { address, prefix, parent: parent.to_owned(), ..Record::new(network) };
    {
        let _lock = work.records.lock()?;
        let others = work.records.others(work.pod);
        let taken = others.iter().find(|(_, other)| other.address == address && !address.is_unspecified());
        if let Some((owner, _)) = taken {
            let field = "metadata.annotations[\"mote/network-address\"]";
            return Err(Error::config(work.pod, field, format!("{address} is taken by pod {owner}")));
        }
        work.records.write(work.pod, &record)?;
    }
    rtnetlink::delete(&sides.pod, INTERFACE).during("delete", INTERFACE)?;
    if !found.up {
        rtnetlink::up(&sides.host, found.index).during("set up", name.as_c_str())?;
    }
    let mode = network.macvlan_mode.as_deref().unwrap_or("bridge");
    let mode = MACVLAN_MODES.iter().find(|(word, _)| *word == mode).map_or(0, |(_, number)| *number);
    let end = End {
        name: INTERFACE,
        namespace: sides.namespace,
        address: hardware(work.pod, found.address),
        mtu: work.settings.mtu,
    };
    needs(
        rtnetlink::macvlan(&sides.host, found.index, mode, &end),
        &format!("macvlan on {parent}"),
        "CONFIG_MACVLAN",
    )?;
    let inside = rtnetlink::find(&sides.pod, INTERFACE).during("find", INTERFACE)?;
    if prefix != 0 {
        rtnetlink::address(&sides.pod, inside.index, address, prefix).during("address", INTERFACE)?;
    }
    rtnetlink::up(&sides.pod, inside.index).during("set up", INTERFACE)?;
    if let Some(gateway) = network.gateway {
        rtnetlink::default_route(&sides.pod, gateway).during("route", INTERFACE)?;
    }
    work.records.write(work.pod, &Record { ready: true, ..record })
}

/// A hardware address that a pod keeps, so that a DHCP server gives it the same address again: of its name and of the parent's
/// own, by FNV-1a.
fn hardware(pod: &str, parent: [u8; 6]) -> [u8; 6] {
    let bytes = parent.iter().copied().chain(pod.bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    [0x02, a, b, c, d, e] // locally administered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_and_devices_have_addresses_of_their_own() {
        let all = [hardware("a", [1; 6]), hardware("b", [1; 6]), hardware("a", [2; 6])];
        assert!(all.iter().all(|address| address[0] == 2));
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
        assert_eq!(hardware("a", [1; 6]), all[0]);
    }
}
