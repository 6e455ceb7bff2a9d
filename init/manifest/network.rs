//! The network of a pod: `spec.hostNetwork`, the annotations `mote/network*`, and `ports` with a `hostPort`.

use std::fmt;
use std::net::Ipv4Addr;

use mote::error::{Error, Result};
use mote::json::{Pairs, Str};
use mote::rtnetlink::MACVLAN_MODES;

use super::text::ContainerText;

/// What a pod's network is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `lo` only.
    None,
    /// The device's own.
    Host,
    /// A port of mote's bridge.
    Bridge,
    /// An interface on the network of one of the device's.
    Macvlan,
    /// What CNI plugins make of it.
    Cni,
}

const MODES: &[(&str, Mode)] = &[
    ("none", Mode::None),
    ("host", Mode::Host),
    ("bridge", Mode::Bridge),
    ("macvlan", Mode::Macvlan),
    ("cni", Mode::Cni),
];

impl Mode {
    /// What is called so.
    pub fn of(word: &str) -> Option<Self> {
        MODES.iter().find(|(name, _)| *name == word).map(|(_, mode)| *mode)
    }

    /// Its name.
    pub fn word(self) -> &'static str {
        MODES.iter().find(|(_, mode)| *mode == self).map_or("", |(name, _)| name)
    }
}

/// A port of the device that leads to one of the pod.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Port {
    /// IANA's number.
    pub protocol: u8,
    /// The device's address; 0.0.0.0 for all of them.
    pub ip: Ipv4Addr,
    /// The device's port.
    pub host: u16,
    /// The pod's.
    pub container: u16,
    /// Where it stands in the manifest: place in [`LISTS`], container, port.
    at: [u16; 3],
}

/// The lists of containers.
pub const LISTS: [&str; 2] = ["initContainers", "containers"];

const PROTOCOLS: &[(&str, u8)] = &[("TCP", 6), ("UDP", 17), ("SCTP", 132)];

impl Port {
    /// `tcp`, `udp` or `sctp`
    pub fn protocol_word(&self) -> String {
        let found = PROTOCOLS.iter().find(|(_, number)| *number == self.protocol);
        found.map_or("", |(word, _)| word).to_ascii_lowercase()
    }

    /// Where it stands in the manifest.
    pub fn field(&self) -> String {
        let [list, i, k] = self.at;
        let list = LISTS.get(usize::from(list)).unwrap_or(&"");
        format!("spec.{list}[{i}].ports[{k}].hostPort")
    }

    /// Whether both want the same port of the same address.
    pub fn meets(&self, other: &Self) -> bool {
        let any = self.ip.is_unspecified() || other.ip.is_unspecified();
        (self.protocol, self.host) == (other.protocol, other.host) && (any || self.ip == other.ip)
    }

    /// What [`fmt::Display`] makes of it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let protocol = words.next()?.to_ascii_uppercase();
        let protocol = PROTOCOLS.iter().find(|(word, _)| *word == protocol)?.1;
        let (ip, host) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let container = words.next()?.parse().ok()?;
        let mut at = [1, 0, 0];
        for (place, word) in at.iter_mut().zip(words) {
            *place = word.parse().ok()?;
        }
        Some(Self { protocol, ip, host, container, at })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [list, i, k] = self.at;
        write!(f, "{} {} {} {} {list} {i} {k}", self.protocol_word(), self.ip, self.host, self.container)
    }
}

/// The network of a pod.
#[derive(Debug)]
pub struct Network {
    /// What it is.
    pub mode: Mode,
    /// An address that the pod must have, with the length of its network's prefix for a macvlan.
    pub address: Option<(Ipv4Addr, u8)>,
    /// The way out, for a macvlan.
    pub gateway: Option<Ipv4Addr>,
    /// The interface that a macvlan is on.
    pub parent: Option<String>,
    /// One of [`MACVLAN_MODES`].
    pub macvlan_mode: Option<String>,
    /// The name of the CNI network; the first there is otherwise.
    pub cni: Option<String>,
    /// The device's ports that lead to the pod.
    pub ports: Vec<Port>,
}

/// Checks what the document says; `flaw` makes an error from a field and a reason.
pub fn network(
    host_network: bool,
    annotations: &Pairs<'_, Str<'_>>,
    lists: [&[ContainerText<'_>]; 2],
    flaw: &dyn Fn(&str, &str) -> Error,
) -> Result<Network> {
    let mode = if host_network { Mode::Host } else { Mode::None };
    let mut network = Network {
        mode,
        address: None,
        gateway: None,
        parent: None,
        macvlan_mode: None,
        cni: None,
        ports: Vec::new(),
    };
    let of = |key: &str| annotations.iter().find(|(name, _)| *name == key).map(|(_, value)| value.decode());
    let at = |key: &str, why: &str| flaw(&format!("metadata.annotations[\"{key}\"]"), why);
    if let Some(word) = of("mote/network") {
        let want = "expected none, host, bridge, macvlan or cni";
        network.mode = Mode::of(&word).ok_or_else(|| at("mote/network", want))?;
        if host_network && network.mode != Mode::Host {
            return Err(at("mote/network", "spec.hostNetwork is true: expected host, or nothing"));
        }
    }
    for (key, value) in annotations.iter() {
        let key = key.decode();
        let Some(what) = key.strip_prefix("mote/network-") else { continue };
        let value = value.decode();
        let wrong = |why: &str| at(&key, why);
        match (what, network.mode) {
            ("address", Mode::Bridge) => {
                let address = value.parse().map_err(|_| wrong("expected an address such as 10.190.0.7"))?;
                network.address = Some((address, 0));
            }
            ("address", Mode::Macvlan) => {
                let why = "expected an address with its network's length, such as 192.168.1.7/24";
                let address = network_of(&value).filter(|(_, prefix)| (1..=32).contains(prefix));
                network.address = Some(address.ok_or_else(|| wrong(why))?);
            }
            ("gateway", Mode::Macvlan) => {
                let gateway = value.parse().map_err(|_| wrong("expected an address such as 192.168.1.1"))?;
                network.gateway = Some(gateway);
            }
            ("parent", Mode::Macvlan) if is_interface(&value) => network.parent = Some(value),
            ("parent", Mode::Macvlan) => return Err(wrong("expected the name of an interface")),
            ("mode", Mode::Macvlan) if MACVLAN_MODES.iter().any(|(word, _)| *word == value) => {
                network.macvlan_mode = Some(value);
            }
            ("mode", Mode::Macvlan) => return Err(wrong("expected private, vepa, bridge or passthru")),
            ("cni", Mode::Cni) if !value.is_empty() => network.cni = Some(value),
            ("cni", Mode::Cni) => return Err(wrong("expected the name of a network")),
            ("address" | "gateway" | "parent" | "mode" | "cni", mode) => {
                return Err(wrong(&format!("has no meaning with mote/network: {}", mode.word())));
            }
            _ => return Err(wrong("not an annotation that mote knows")),
        }
    }
    if network.mode == Mode::Macvlan && network.parent.is_none() {
        return Err(at("mote/network-parent", "a macvlan needs the interface that it is on"));
    }
    if network.gateway.is_some() && network.address.is_none() {
        return Err(at("mote/network-gateway", "needs mote/network-address"));
    }
    for (list, containers) in (0..).zip(lists) {
        for (i, container) in (0..).zip(containers) {
            ports(&mut network, [list, i], container, flaw)?;
        }
    }
    Ok(network)
}

/// `ports` of one container: its list, and its place in that.
fn ports(
    network: &mut Network,
    [list, i]: [u16; 2],
    container: &ContainerText<'_>,
    flaw: &dyn Fn(&str, &str) -> Error,
) -> Result<()> {
    let list_name = LISTS.get(usize::from(list)).unwrap_or(&"");
    for (k, text) in (0..).zip(container.ports.iter()) {
        let at = |field: &str, why: &str| flaw(&format!("spec.{list_name}[{i}].ports[{k}].{field}"), why);
        let number = |value: i64, field| {
            let port = u16::try_from(value).ok().filter(|port| *port != 0);
            port.ok_or_else(|| at(field, "expected 1 to 65535"))
        };
        let container = number(text.container, "containerPort")?;
        let protocol = text.protocol.map_or_else(|| "TCP".to_owned(), Str::decode);
        let protocol = PROTOCOLS.iter().find(|(word, _)| *word == protocol);
        let protocol = protocol.ok_or_else(|| at("protocol", "expected \"TCP\", \"UDP\" or \"SCTP\""))?.1;
        let Some(host) = text.host.filter(|host| *host != 0) else { continue };
        let host = number(host, "hostPort")?;
        let ip = text.host_ip.map(Str::decode).filter(|ip| !ip.is_empty());
        let ip = match ip.as_deref() {
            None | Some("::") => Ipv4Addr::UNSPECIFIED,
            Some(ip) => ip.parse().map_err(|_| at("hostIP", "expected an IPv4 address"))?,
        };
        match network.mode {
            Mode::Bridge | Mode::Cni => {}
            Mode::Host if host == container => continue,
            Mode::Host => return Err(at("hostPort", "in the device's network it is the containerPort")),
            Mode::None | Mode::Macvlan => {
                return Err(at("hostPort", "needs the annotation mote/network: bridge, cni or host"));
            }
        }
        let port = Port { protocol, ip, host, container, at: [list, i, k] };
        if network.ports.iter().any(|other| other.meets(&port)) {
            return Err(at("hostPort", "another port of this pod has it"));
        }
        network.ports.push(port);
    }
    Ok(())
}

/// `10.0.0.0/8`: an address and the length of a prefix.
pub fn network_of(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok().filter(|prefix| *prefix <= 32)?))
}

/// Whether the kernel would take it as the name of an interface (`dev_valid_name`).
pub fn is_interface(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'/' && b != b':';
    (1..=15).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".."
}
