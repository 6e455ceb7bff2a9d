//! `network` in init.json: what holds for all pods. Read by who needs it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use mote::error::{Error, Result};
use mote::input::{self, Input};
use mote::json::{self, List, Str};
use mote::object;
use nix::errno::Errno;

use crate::manifest::network_of;

/// The members that are known.
const KEYS: &[&str] =
    &["bridge", "subnet", "range", "gateway", "masquerade", "mtu", "cniConfig", "cniPlugins", "cniSeconds"];

object! {
    struct File<'a> { network: Text<'a> = "network" }
    struct Text<'a> {
        bridge: Option<Str<'a>> = "bridge",
        subnet: Option<Str<'a>> = "subnet",
        range: Option<Str<'a>> = "range",
        gateway: Option<Str<'a>> = "gateway",
        masquerade: Option<bool> = "masquerade",
        mtu: u32 = "mtu",
        cni_config: Option<Str<'a>> = "cniConfig",
        cni_plugins: List<Str<'a>> = "cniPlugins",
        cni_seconds: Option<u8> = "cniSeconds",
    }
}

/// The settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// The bridge of mode `bridge`.
    pub bridge: String,
    /// Its network.
    pub subnet: (Ipv4Addr, u8),
    /// The first and the last address that a pod can get.
    pub range: (Ipv4Addr, Ipv4Addr),
    /// The pods' way out.
    pub gateway: Ipv4Addr,
    /// Whether the gateway is the bridge itself.
    pub own_gateway: bool,
    /// Whether what the pods send elsewhere goes as if the device had sent it.
    pub masquerade: bool,
    /// Of bridge and pods, in bytes; 0 for the kernel's own.
    pub mtu: u32,
    /// Where the CNI networks are described.
    pub cni_config: String,
    /// Where the CNI plugins are.
    pub cni_plugins: Vec<String>,
    /// How long all plugins of a network may take for one operation.
    pub cni_limit: Duration,
}

impl Settings {
    /// Reads the file at `path`, which may be missing.
    pub fn read(path: &str) -> Result<Self> {
        let text = match input::read(Path::new(path), 64 * 1024) {
            Ok(Input::Text(text)) => text,
            Err(error) if error.errno() == Some(Errno::ENOENT) => b"{}".to_vec(),
            Ok(_) => return Err(Error::config(path, "the document", "not a regular file of at most 64 KiB")),
            Err(other) => return Err(other),
        };
        Self::parse(&text).map_err(|(field, why)| Error::config(path, field, why))
    }

    fn parse(text: &[u8]) -> std::result::Result<Self, (String, String)> {
        let file: File<'_> = json::parse(text).map_err(|flaw| (flaw.field, flaw.why))?;
        let network = file.network;
        let wrong = |key: &str, why: &str| (format!("network.{key}"), why.to_owned());
        let raw =
            std::str::from_utf8(text).ok().and_then(|text| json::member(text, "network")).unwrap_or("{}");
        for member in json::members(raw) {
            if !KEYS.iter().any(|key| member.key == *key) {
                return Err(wrong(&member.key.decode(), "not a key that mote knows"));
            }
        }
        let bridge = network.bridge.map_or_else(|| "mote0".to_owned(), Str::decode);
        if !crate::manifest::is_interface(&bridge) {
            return Err(wrong("bridge", "expected the name of an interface, of at most 15 bytes"));
        }
        let subnet = network.subnet.map_or_else(|| "10.190.0.0/24".to_owned(), Str::decode);
        let why = "expected a network such as 10.190.0.0/24, of 8 to 30 bits";
        let (base, prefix) = network_of(&subnet)
            .filter(|(base, prefix)| (8..=30).contains(prefix) && base.to_bits() & (u32::MAX >> prefix) == 0)
            .ok_or_else(|| wrong("subnet", why))?;
        let last = base.to_bits() | (u32::MAX >> prefix);
        let inside = |address: &Ipv4Addr| (base.to_bits() + 1..last).contains(&address.to_bits());
        let gateway = match network.gateway {
            None => Ipv4Addr::from_bits(base.to_bits() + 1),
            Some(text) => (text.decode().parse().ok().filter(inside))
                .ok_or_else(|| wrong("gateway", "expected an address in the subnet"))?,
        };
        let range = match network.range {
            None => (Ipv4Addr::from_bits(base.to_bits() + 1), Ipv4Addr::from_bits(last - 1)),
            Some(text) => {
                let text = text.decode();
                let ends = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                ends.filter(|(a, b)| inside(a) && inside(b) && a <= b)
                    .ok_or_else(|| wrong("range", "expected two addresses in the subnet with a - between"))?
            }
        };
        if network.mtu != 0 && !(68..=65_535).contains(&network.mtu) {
            return Err(wrong("mtu", "expected 68 to 65535, or 0 for the kernel's own"));
        }
        let plugins: Vec<String> = network.cni_plugins.iter().map(|path| path.decode()).collect();
        let cni_config = network.cni_config.map_or_else(|| "/etc/cni/net.d".to_owned(), Str::decode);
        let places = || plugins.iter().chain([&cni_config]);
        if places().any(|path| !path.starts_with('/') || path.contains([':', '\0'])) {
            return Err(wrong("cniPlugins", "expected absolute paths without colons, as for cniConfig"));
        }
        // A starter, which may have to remove and to add, is killed after 60 s.
        let seconds = network.cni_seconds.unwrap_or(15);
        if !(1..=15).contains(&seconds) {
            return Err(wrong("cniSeconds", "expected 1 to 15"));
        }
        let usual = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
        Ok(Self {
            bridge,
            subnet: (base, prefix),
            range,
            gateway,
            own_gateway: network.gateway.is_none(),
            masquerade: network.masquerade.unwrap_or(true),
            mtu: network.mtu,
            cni_plugins: if plugins.is_empty() { usual.map(str::to_owned).to_vec() } else { plugins },
            cni_config,
            cni_limit: Duration::from_secs(seconds.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let Ok(settings) = Settings::parse(b"{}") else { unreachable!("defaults") };
        assert_eq!((settings.bridge.as_str(), settings.subnet.1), ("mote0", 24));
        assert_eq!(settings.gateway, Ipv4Addr::new(10, 190, 0, 1));
        assert_eq!(settings.range.1, Ipv4Addr::new(10, 190, 0, 254));
        assert!(settings.own_gateway && settings.masquerade);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, field) in [
            (r#"{"bridge":"a b"}"#, "network.bridge"),
            (r#"{"bridge":"longer-than-fifteen"}"#, "network.bridge"),
            (r#"{"subnet":"10.0.0.1/24"}"#, "network.subnet"),
            (r#"{"subnet":"10.0.0.0/31"}"#, "network.subnet"),
            (r#"{"subnet":"10.0.0.0"}"#, "network.subnet"),
            (r#"{"gateway":"10.191.0.1"}"#, "network.gateway"),
            (r#"{"range":"10.190.0.9-10.190.0.3"}"#, "network.range"),
            (r#"{"range":"10.190.0.9-10.190.1.3"}"#, "network.range"),
            (r#"{"masqurade":false}"#, "network.masqurade"),
            (r#"{"mtu":40}"#, "network.mtu"),
            (r#"{"cniPlugins":["bin"]}"#, "network.cniPlugins"),
            (r#"{"masquerade":"yes"}"#, "network.masquerade"),
        ] {
            let wrong = Settings::parse(format!("{{\"network\":{text}}}").as_bytes());
            assert_eq!(wrong.map_err(|(at, _)| at), Err(field.to_owned()), "{text}");
        }
    }
}
