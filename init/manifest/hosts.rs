//! What a pod says of names and addresses: `hostAliases`, `dnsPolicy` and `dnsConfig`.

use std::fmt::Write as _;
use std::net::IpAddr;

use mote::error::{Error, Result};
use mote::json::Str;

use super::security::word;
use super::text::{HostAlias, Spec};

/// Makes an error of a field and the reason.
type Wrong<'w> = &'w dyn Fn(&str, &str) -> Error;

/// The lines for `/etc/hosts`.
pub fn aliases(texts: &[HostAlias<'_>], wrong: Wrong<'_>) -> Result<String> {
    let mut lines = String::new();
    for (i, alias) in texts.iter().enumerate() {
        let at = |field: &str| format!("spec.hostAliases[{i}].{field}");
        lines.push_str(&address(alias.ip).ok_or_else(|| wrong(&at("ip"), ADDRESS))?);
        for (k, name) in alias.hostnames.iter().enumerate() {
            let name = host_name(*name).ok_or_else(|| wrong(&at(&format!("hostnames[{k}]")), NAME))?;
            let _ = write!(lines, "\t{name}"); // to a String
        }
        lines.push('\n');
    }
    Ok(lines)
}

const ADDRESS: &str = "expected an IPv4 or IPv6 address";
const NAME: &str = "expected a DNS name of small letters, digits, - and dots";

/// Where the containers of a pod ask for names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Whether what the device asks comes first.
    pub device: bool,
    /// Addresses.
    pub servers: Vec<String>,
    /// Domains.
    pub searches: Vec<String>,
    /// Words such as `ndots:2`.
    pub options: Vec<String>,
}

/// `dnsPolicy` and `dnsConfig`; `None` where the bundle's own `/etc/resolv.conf` stays.
pub fn dns(spec: &Spec<'_>, wrong: Wrong<'_>, passed: &mut Vec<String>) -> Result<Option<Dns>> {
    let words = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    let policy = word(spec.dns_policy, &words, "spec.dnsPolicy", wrong)?;
    let Some(config) = &spec.dns_config else {
        return match policy {
            Some(3) => Err(wrong("spec.dnsConfig.nameservers", "with dnsPolicy None at least one is needed")),
            Some(2) => Ok(Some(Dns { device: true, ..Dns::default() })),
            Some(_) => {
                passed.push("spec.dnsPolicy".to_owned());
                Ok(None)
            }
            None => Ok(None),
        };
    };
    let list =
        |texts: &[Str<'_>], field: &str, most: usize, check: &dyn Fn(Str<'_>) -> Option<String>, why| {
            let field = |i| format!("spec.dnsConfig.{field}[{i}]");
            if texts.len() > most {
                return Err(wrong(&field(most), "one too many"));
            }
            let one = |(i, text): (usize, &Str<'_>)| check(*text).ok_or_else(|| wrong(&field(i), why));
            texts.iter().enumerate().map(one).collect::<Result<Vec<_>>>()
        };
    let servers = list(&config.nameservers, "nameservers", 3, &address, ADDRESS)?;
    if policy == Some(3) && servers.is_empty() {
        return Err(wrong("spec.dnsConfig.nameservers", "with dnsPolicy None at least one is needed"));
    }
    let searches = list(&config.searches, "searches", 32, &host_name, NAME)?;
    let mut options = Vec::with_capacity(config.options.len());
    for (i, option) in config.options.iter().enumerate() {
        let (name, value) =
            (option.name.decode(), option.value.map(Str::decode).filter(|value| !value.is_empty()));
        let text = value.map_or_else(|| name.clone(), |value| format!("{name}:{value}"));
        if name.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(wrong(
                &format!("spec.dnsConfig.options[{i}]"),
                "expected a name and a value without blanks",
            ));
        }
        options.push(text);
    }
    Ok(Some(Dns { device: policy != Some(3), servers, searches, options }))
}

impl Dns {
    /// As resolv.conf(5), after what the device has in `device`.
    pub fn text(&self, device: &str) -> String {
        let device = if self.device { device } else { "" };
        let of = |key: &'static str| {
            device
                .lines()
                .filter_map(move |line| line.trim_start().strip_prefix(key)?.strip_prefix([' ', '\t']))
        };
        let mut out = String::new();
        for server in of("nameserver").map(str::trim).chain(self.servers.iter().map(String::as_str)).take(3) {
            let _ = writeln!(out, "nameserver {server}"); // to a String
        }
        for (key, last, own) in [("search", true, &self.searches), ("options", false, &self.options)] {
            // Of several lines with domains the last one counts.
            let lines: Vec<_> = of(key).collect();
            let from = if last { lines.len().saturating_sub(1) } else { 0 };
            let words = lines
                .iter()
                .skip(from)
                .flat_map(|line| line.split_whitespace())
                .chain(own.iter().map(String::as_str));
            let words: Vec<_> = words.collect();
            if !words.is_empty() {
                let _ = writeln!(out, "{key} {}", words.join(" "));
            }
        }
        out
    }
}

fn address(text: Str<'_>) -> Option<String> {
    let text = text.decode();
    text.parse::<IpAddr>().ok().map(|_| text)
}

/// A name of DNS labels, RFC 1123, as Kubernetes wants it.
fn host_name(text: Str<'_>) -> Option<String> {
    let text = text.decode();
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| {
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(good)
    };
    let whole = text.strip_suffix('.').unwrap_or(&text);
    (text.len() <= 253 && whole.split('.').all(label)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_device_asks_comes_first() {
        let device =
            "# by hand\nnameserver 10.0.0.1\nsearch old\n search lan\nnameserver\t10.0.0.2\noptions edns0\n";
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let mut dns = Dns {
            device: true,
            servers: words(&["1.1.1.1", "8.8.8.8"]),
            searches: words(&["pod"]),
            options: words(&["ndots:2"]),
        };
        let want = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 1.1.1.1\nsearch lan pod\noptions edns0 ndots:2\n";
        assert_eq!(dns.text(device), want);
        dns.device = false;
        assert_eq!(dns.text(device), "nameserver 1.1.1.1\nnameserver 8.8.8.8\nsearch pod\noptions ndots:2\n");
        assert_eq!(Dns::default().text(device), "");
    }
}
