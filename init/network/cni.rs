//! Mode `cni`: the plugins that a network's configuration names, run as the CNI specification 1.0 has it: each with the network
//! configuration on its standard input, the answer of the one before in it, and what it is to do in its environment.
//!
//! Configuration and answer are kept in the pod's record: what is added by one is removed by the same, whatever has become of
//! the file since.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use mote::error::{Error, Result};
use mote::input::{self, Input};
use mote::json::{self, List, Str, Writer};
use mote::object;
use mote::sys::file;
use mote::sys::wait::How;

use super::plugin::{self, Outcome};
use super::record::Record;
use super::settings::Settings;
use super::{INTERFACE, Work, ports};
use crate::manifest::{Network, Port, network_of};

/// Versions of the specification whose answers are passed from plugin to plugin as they are.
const VERSIONS: &[&str] = &["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

object! {
    /// A list of plugins, or one plugin.
    struct Text<'a> {
        version: Str<'a> = "cniVersion", name: Str<'a> = "name", kind: Str<'a> = "type", unchecked: bool = "disableCheck",
        plugins: List<PluginText<'a>> = "plugins",
    }
    struct PluginText<'a> { kind: Str<'a> = "type", capabilities: Capabilities = "capabilities" }
    struct Capabilities { ports: bool = "portMappings" }
    struct Answer<'a> { version: Option<Str<'a>> = "cniVersion", ips: List<Ip<'a>> = "ips", interfaces: List<Interface<'a>> = "interfaces" }
    struct Interface<'a> { name: Str<'a> = "name", sandbox: Str<'a> = "sandbox" }
    struct Ip<'a> { address: Str<'a> = "address" }
    struct Trouble<'a> { code: i64 = "code", message: Str<'a> = "msg", details: Str<'a> = "details" }
}

/// A network.
struct Config {
    name: String,
    version: String,
    unchecked: bool,
    /// Each with its type, whether it takes ports, and its own configuration, JSON.
    plugins: Vec<(String, bool, String)>,
}

/// Takes the network's configuration apart.
fn parse(text: &str) -> std::result::Result<Config, (String, String)> {
    let read: Text<'_> = json::parse(text.as_bytes()).map_err(|flaw| (flaw.field, flaw.why))?;
    let wrong = |field: &str, why: String| Err((field.to_owned(), why));
    let (name, version) = (read.name.decode(), read.version.decode());
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !plain(&name) {
        return wrong("name", "expected letters, digits, _, . and -".to_owned());
    }
    if !VERSIONS.contains(&version.as_str()) {
        return wrong("cniVersion", format!("\"{version}\" is none of {}", VERSIONS.join(", ")));
    }
    let list = json::member(text, "plugins").unwrap_or("[]");
    let mut plugins = Vec::new();
    for (i, (plugin, raw)) in read.plugins.iter().zip(crate::fields::elements(list)).enumerate() {
        let kind = plugin.kind.decode();
        if kind.is_empty() || kind.starts_with('.') || !plain(&kind) {
            return wrong(&format!("plugins[{i}].type"), "expected the name of a plugin".to_owned());
        }
        plugins.push((kind, plugin.capabilities.ports, raw.to_owned()));
    }
    if plugins.is_empty() {
        return wrong("plugins", "expected at least one plugin".to_owned());
    }
    Ok(Config { name, version, unchecked: read.unchecked, plugins })
}

/// Finds the network called `wanted`, or the first there is by the name of its file, and gives its configuration.
fn find(settings: &Settings, wanted: Option<&str>) -> Result<String> {
    let dir = Path::new(&settings.cni_config);
    let names = file::names(dir).unwrap_or_default();
    let mut files: Vec<_> = names
        .iter()
        .map(|name| dir.join(name))
        .filter(|path| {
            path.extension().is_some_and(|end| ["conflist", "conf", "json"].iter().any(|known| end == *known))
        })
        .collect();
    files.sort_unstable();
    for path in files {
        let text = match input::read(&path, 256 * 1024) {
            Ok(Input::Text(text)) => String::from_utf8_lossy(&text).trim().to_owned(),
            Ok(_) => continue,
            Err(e) => {
                mote::warn!("{e}; left aside");
                continue;
            }
        };
        // A file of one plugin is a list of one.
        let one = json::parse::<Text<'_>>(text.as_bytes()).ok().filter(|read| !read.kind.is_empty());
        let text = match one {
            None => text,
            Some(read) => {
                let mut list = Writer::new("");
                list.string("cniVersion", &read.version.decode());
                list.string("name", &read.name.decode());
                list.raw("plugins", &format!("[{text}]"));
                list.end()
            }
        };
        match parse(&text) {
            Ok(config) if wanted.is_none_or(|wanted| wanted == config.name) => return Ok(text),
            Ok(_) => {}
            Err((field, why)) => {
                let error = Error::config(path.display(), field, why);
                // The first is meant, so what stands before it must not be passed over unseen.
                mote::warn!("{error}; left aside");
            }
        }
    }
    let which = wanted.map_or_else(|| "no network".to_owned(), |name| format!("no network \"{name}\""));
    Err(Error::usage(format_args!("network: cni: {which} in {}", settings.cni_config)))
}

/// One operation on all plugins of a network.
struct Call<'a> {
    work: &'a Work<'a>,
    config: Config,
    command: &'static str,
    id: &'a str,
    /// Whether the namespace is there.
    alive: bool,
    ports: &'a [Port],
    until: Instant,
}

impl<'a> Call<'a> {
    fn new(work: &'a Work<'a>, record: &'a Record, command: &'static str, alive: bool) -> Result<Self> {
        let text = record.cni.as_ref().map_or("", |(config, _)| config);
        let config = parse(text).map_err(|(field, why)| Error::config(work.pod, field, why))?;
        let until = Instant::now() + work.settings.cni_limit;
        Ok(Self { work, config, command, id: &record.id, alive, ports: &record.ports, until })
    }

    /// Runs the plugin at `place` and gives what it answers.
    fn run(&self, place: usize, before: &str) -> Result<String> {
        let Some((kind, takes_ports, own)) = self.config.plugins.get(place) else { return Ok(String::new()) };
        let failed = |why: &str| {
            let (name, command) = (&self.config.name, self.command);
            Error::usage(format_args!("network: cni \"{name}\": {kind}: {command}: {why}"))
        };
        let dirs = &self.work.settings.cni_plugins;
        let path = dirs.iter().map(|dir| format!("{dir}/{kind}")).find(|path| Path::new(path).is_file());
        let path = path.ok_or_else(|| failed(&format!("no such plugin in {}", dirs.join(":"))))?;
        let mut input = Writer::new("");
        input.string("cniVersion", &self.config.version);
        input.string("name", &self.config.name);
        for member in json::members(own) {
            let given =
                ["cniVersion", "name", "prevResult", "runtimeConfig"].iter().any(|key| member.key == *key);
            if !given {
                input.raw(&member.key.decode(), member.value);
            }
        }
        if *takes_ports && !self.ports.is_empty() {
            input.raw("runtimeConfig", &format!("{{\"portMappings\":{}}}", mappings(self.ports)));
        }
        if !before.is_empty() {
            input.raw("prevResult", before);
        }
        let (pod, run) = (self.work.pod, self.work.paths.run);
        let netns = if self.alive { format!("{run}/{}/{pod}", mote::pin::NET.dir) } else { String::new() };
        let id = self.id;
        let env = [
            format!("CNI_COMMAND={}", self.command),
            format!("CNI_CONTAINERID={id}"),
            format!("CNI_NETNS={netns}"),
            format!("CNI_IFNAME={}", INTERFACE.to_string_lossy()),
            format!(
                "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID={id}"
            ),
            format!("CNI_PATH={}", dirs.join(":")),
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ];
        let outcome = plugin::run(&path, &env, &input.end(), self.until)?;
        match outcome.how {
            Some(How::Code(0)) => Ok(outcome.output.trim().to_owned()),
            _ => Err(failed(&explain(&outcome, self.work.settings.cni_limit))),
        }
    }
}

/// Why a plugin failed, in its own words.
fn explain(outcome: &Outcome, limit: Duration) -> String {
    let trouble = json::parse::<Trouble<'_>>(outcome.output.as_bytes()).ok();
    if let Some(trouble) = trouble.filter(|trouble| !trouble.message.is_empty()) {
        let details = trouble.details.decode();
        let colon = if details.is_empty() { "" } else { "; " };
        return format!("code {}: {}{colon}{details}", trouble.code, trouble.message.decode());
    }
    let last = outcome.complaint.trim().lines().last().unwrap_or("it does not say why").to_owned();
    match outcome.how {
        None => format!("not done after {} s, killed", limit.as_secs()),
        Some(How::Code(code)) => format!("exit status {code}: {last}"),
        Some(How::Signal(signal)) => format!("killed by signal {signal}"),
    }
}

/// Ports as the capability `portMappings` has them.
fn mappings(ports: &[Port]) -> String {
    let one = |port: &Port| {
        let mut out = Writer::new("");
        out.number("hostPort", port.host);
        out.number("containerPort", port.container);
        out.string("protocol", &port.protocol_word());
        if !port.ip.is_unspecified() {
            out.string("hostIP", &port.ip.to_string());
        }
        out.end()
    };
    format!("[{}]", ports.iter().map(one).collect::<Vec<_>>().join(","))
}

/// Adds the pod whose namespace has the number `netns` to its network. What has been done when it fails is the caller's to
/// take back.
pub fn add(work: &Work<'_>, network: &Network, netns: u64) -> Result<()> {
    let text = find(&work.settings, network.cni.as_deref())?;
    let mut record = Record { id: format!("mote-{}-{netns}", work.pod), ..Record::new(network) };
    record.cni = Some((text, String::new()));
    let told = record.clone();
    let call = Call::new(work, &told, "ADD", true)?;
    if !network.ports.is_empty() && !call.config.plugins.iter().any(|(_, takes_ports, _)| *takes_ports) {
        let field = network.ports.first().map_or(String::new(), Port::field);
        let why = format!("no plugin of network \"{}\" has the capability portMappings", call.config.name);
        return Err(Error::config(work.pod, field, why));
    }
    record.network.clone_from(&call.config.name);
    {
        let _lock = work.records.lock()?;
        ports::check(work.pod, &network.ports, &work.records.others(work.pod))?;
        work.records.write(work.pod, &record)?;
    }
    let mut result = String::new();
    for place in 0..call.config.plugins.len() {
        result = call.run(place, &result)?;
        if let Err(flaw) = json::parse::<Answer<'_>>(result.as_bytes()) {
            let (kind, ..) = call.config.plugins.get(place).cloned().unwrap_or_default();
            let why = format!("network: cni: {kind}: its answer: {}: {}", flaw.field, flaw.why);
            return Err(Error::usage(format_args!("{why}")));
        }
    }
    let answer: Answer<'_> = json::parse(result.as_bytes()).unwrap_or_default();
    let first = answer.ips.iter().find_map(|ip| network_of(&ip.address.decode()));
    (record.address, record.prefix) = first.unwrap_or((Ipv4Addr::UNSPECIFIED, 0));
    if let Some((_, kept)) = &mut record.cni {
        *kept = result;
    }
    work.records.write(work.pod, &Record { ready: true, ..record })
}

/// Whether the specification has it: `prevResult` of DEL, and CHECK, came with 0.4.0.
fn has_check(config: &Config) -> bool {
    !config.version.starts_with("0.3.")
}

/// Whether the plugins have made the pod an interface.
pub fn has_interface(record: &Record) -> bool {
    let result = record.cni.as_ref().map_or("", |(_, result)| result);
    let answer: Answer<'_> = json::parse(result.as_bytes()).unwrap_or_default();
    let name = INTERFACE.to_string_lossy();
    answer
        .interfaces
        .iter()
        .any(|interface| *interface.name.decode() == *name && !interface.sandbox.is_empty())
}

/// Asks the plugins whether all is as they left it. One that says no is told, and no more: portmap 1.1 says so of every
/// network without IPv6.
pub fn check(work: &Work<'_>, record: &Record) {
    let asked = Call::new(work, record, "CHECK", true).and_then(|call| {
        if call.config.unchecked || !has_check(&call.config) {
            return Ok(());
        }
        let result = record.cni.as_ref().map_or("", |(_, result)| result);
        (0..call.config.plugins.len()).try_for_each(|place| call.run(place, result).map(drop))
    });
    if let Err(e) = asked {
        mote::warn!("{}: {e}; it stays as it is", work.pod);
    }
}

/// Takes the pod out of its network: every plugin in reverse order, also after one that fails, whose error is returned.
pub fn delete(work: &Work<'_>, record: &Record, alive: bool) -> Result<()> {
    let call = Call::new(work, record, "DEL", alive)?;
    let result = record.cni.as_ref().map_or("", |(_, result)| result);
    let result = if has_check(&call.config) { result } else { "" };
    let mut first = Ok(());
    for place in (0..call.config.plugins.len()).rev() {
        first = first.and(call.run(place, result).map(drop));
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge","x":{"y":1}},{"type":"portmap","capabilities":{"portMappings":true}}]}"#;

    #[test]
    fn a_list_is_taken_apart() {
        let Ok(config) = parse(LIST) else { unreachable!("a good one") };
        let plugins: Vec<_> = config.plugins.iter().map(|(kind, ports, _)| (kind.as_str(), *ports)).collect();
        assert_eq!((config.name.as_str(), plugins), ("net", vec![("bridge", false), ("portmap", true)]));
        assert_eq!(config.plugins[0].2, r#"{"type":"bridge","x":{"y":1}}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, field) in [
            ("\"net\"", "\"../x\"", "name"),
            ("\"net\"", "\"\"", "name"),
            ("1.0.0", "0.2.0", "cniVersion"),
            ("\"bridge\"", "\"a/b\"", "plugins[0].type"),
            ("\"portmap\"", "\"..\"", "plugins[1].type"),
            ("\"plugins\"", "\"others\"", "plugins"),
        ] {
            let found = parse(&LIST.replace(from, to)).map(|_| ()).map_err(|(field, _)| field);
            assert_eq!(found, Err(field.to_owned()), "{to}");
        }
    }

    #[test]
    fn what_a_plugin_says_becomes_one_reason() {
        let outcome = |how, output: &str, complaint: &str| {
            explain(
                &Outcome { how, output: output.to_owned(), complaint: complaint.to_owned() },
                Duration::from_secs(15),
            )
        };
        let said = r#"{"cniVersion":"1.0.0","code":11,"msg":"no","details":"why"}"#;
        assert_eq!(outcome(Some(How::Code(1)), said, "x"), "code 11: no; why");
        assert_eq!(outcome(Some(How::Code(2)), "", "a\nb\n"), "exit status 2: b");
        assert_eq!(outcome(Some(How::Signal(9)), "{", ""), "killed by signal 9");
        assert_eq!(outcome(None, "", ""), "not done after 15 s, killed");
    }

    #[test]
    fn ports_are_what_portmap_takes() {
        let Some(port) = Port::parse("tcp 127.0.0.1 8080 80") else { unreachable!("a port") };
        let want = r#"[{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"127.0.0.1"}]"#;
        assert_eq!(mappings(&[port]), want);
    }
}
