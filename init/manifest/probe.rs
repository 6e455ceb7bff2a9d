//! `startupProbe`, `readinessProbe`, `livenessProbe`: when they are run, and what they do. Defaults and bounds are those of
//! Kubernetes' API; a day is the longest time anywhere, beyond it a number is more likely a slip than a wish.

use std::net::{IpAddr, Ipv4Addr};

use mote::error::{Error, Result};
use mote::json::{List, Str};
use mote::object;

use super::text::PortText;
use crate::fields;
use crate::supervise::{Probe, Task};

/// The longest time, a day.
const TIME_MAX_S: i64 = 86_400;

object! {
    /// A probe.
    pub struct ProbeText<'a> {
        exec: Option<ExecText<'a>> = "exec",
        http: Option<HttpText<'a>> = "httpGet",
        tcp: Option<TcpText<'a>> = "tcpSocket",
        delay_s: Option<i64> = "initialDelaySeconds",
        period_s: Option<i64> = "periodSeconds",
        timeout_s: Option<i64> = "timeoutSeconds",
        success: Option<i64> = "successThreshold",
        failure: Option<i64> = "failureThreshold",
        grace_s: Option<i64> = "terminationGracePeriodSeconds",
    }
    /// `exec`
    pub struct ExecText<'a> { command: List<Str<'a>> = "command" }
    /// `httpGet`; its `port` may be a number or a string and is read from the text.
    pub struct HttpText<'a> {
        host: Option<Str<'a>> = "host",
        path: Option<Str<'a>> = "path",
        scheme: Option<Str<'a>> = "scheme",
        headers: List<HeaderText<'a>> = "httpHeaders",
    }
    /// `httpGet.httpHeaders[]`
    pub struct HeaderText<'a> { name: Str<'a> = "name", value: Str<'a> = "value" }
    /// `tcpSocket`; `port` as above.
    pub struct TcpText<'a> { host: Option<Str<'a>> = "host" }
}

/// What a probe or a hook does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Handler {
    /// Runs this program in the container.
    Exec(Vec<String>),
    /// Connects, in the network namespace of the container.
    Tcp(Address),
    /// Asks for a page, in the same place.
    Http {
        /// Whom.
        address: Address,
        /// The request, as it is sent.
        request: String,
    },
    /// Waits; hooks only.
    Sleep {
        /// How long.
        seconds: u32,
    },
}

/// Where a probe connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// `None`: the container itself.
    pub host: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A probe or hook in the document: its own text, which `raw` is, and the container's ports by name.
pub struct Place<'a> {
    /// The text of the object that holds `exec`, `httpGet` and so on.
    pub raw: &'a str,
    /// `ports` of the container.
    pub ports: &'a [PortText<'a>],
    /// Makes an error from a field's name below this place.
    pub at: &'a dyn Fn(&str, &str) -> Error,
}

/// Checks a probe.
pub fn probe(task: Task, text: &ProbeText<'_>, place: &Place<'_>) -> Result<(Probe, Handler)> {
    let time = |field: &str, value: Option<i64>, default: u32, least: i64| -> Result<u32> {
        let Some(value) = value else { return Ok(default) };
        let fits = (least..=TIME_MAX_S).contains(&value).then(|| u32::try_from(value).ok()).flatten();
        fits.ok_or_else(|| {
            (place.at)(&format!(".{field}"), &format!("expected a whole number from {least} to {TIME_MAX_S}"))
        })
    };
    let default = Probe::default();
    // Kubernetes, too, takes 0 for the default in these.
    let some = |value: Option<i64>| value.filter(|value| *value != 0);
    let probe = Probe {
        delay_s: time("initialDelaySeconds", text.delay_s, default.delay_s, 0)?,
        period_s: time("periodSeconds", some(text.period_s), default.period_s, 1)?,
        timeout_s: time("timeoutSeconds", some(text.timeout_s), default.timeout_s, 1)?,
        success: time("successThreshold", some(text.success), default.success, 1)?,
        failure: time("failureThreshold", some(text.failure), default.failure, 1)?,
        grace_s: text.grace_s.map(|s| time("terminationGracePeriodSeconds", Some(s), 0, 1)).transpose()?,
    };
    if task != Task::Readiness && probe.success != 1 {
        return Err((place.at)(".successThreshold", "expected 1: only a readiness probe may have another"));
    }
    if task == Task::Readiness && probe.grace_s.is_some() {
        return Err((place.at)(".terminationGracePeriodSeconds", "a readiness probe ends no container"));
    }
    let handlers = [
        text.exec.as_ref().map(|exec| command(exec, place)),
        text.http.as_ref().map(|http| get(http, place)),
        text.tcp.as_ref().map(|tcp| {
            let address = address(tcp.host, "tcpSocket", place)?;
            Ok(Handler::Tcp(address))
        }),
    ];
    Ok((probe, one(handlers, place, "expected one of exec, httpGet and tcpSocket")?))
}

/// The only one of `handlers` that is there.
pub fn one<const N: usize>(
    handlers: [Option<Result<Handler>>; N],
    place: &Place<'_>,
    want: &str,
) -> Result<Handler> {
    let mut there = handlers.into_iter().flatten();
    match (there.next(), there.next()) {
        (Some(handler), None) => handler,
        _ => Err((place.at)("", want)),
    }
}

/// Checks `exec`.
pub fn command(exec: &ExecText<'_>, place: &Place<'_>) -> Result<Handler> {
    let command: Vec<String> = exec.command.iter().map(|word| word.decode()).collect();
    if command.first().is_none_or(String::is_empty) {
        return Err((place.at)(".exec.command", "expected at least the program"));
    }
    if let Some(k) = command.iter().position(|word| word.contains('\0')) {
        return Err((place.at)(&format!(".exec.command[{k}]"), "holds a NUL"));
    }
    Ok(Handler::Exec(command))
}

/// Checks `httpGet`.
pub fn get(http: &HttpText<'_>, place: &Place<'_>) -> Result<Handler> {
    let wrong = |field: &str, why: &str| (place.at)(&format!(".httpGet.{field}"), why);
    match http.scheme {
        Some(scheme) if scheme == "HTTPS" => {
            let why = "mote has no TLS; use tcpSocket, or exec with a program of the container";
            return Err(wrong("scheme", why));
        }
        Some(scheme) if scheme != "HTTP" => return Err(wrong("scheme", "expected \"HTTP\"")),
        _ => {}
    }
    let address = address(http.host, "httpGet", place)?;
    let path = http.path.map(Str::decode).unwrap_or_default();
    let slash = if path.starts_with('/') { "" } else { "/" };
    // What ends a line or a word would be another request.
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(wrong("path", "expected printable ASCII without blanks; others as %xx"));
    }
    let mut own = String::new();
    for (k, header) in http.headers.iter().enumerate() {
        let (name, value) = (header.name.decode(), header.value.decode());
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(wrong(&format!("httpHeaders[{k}].name"), "expected a token of RFC 9110"));
        }
        if value.chars().any(char::is_control) {
            return Err(wrong(&format!("httpHeaders[{k}].value"), "holds control characters"));
        }
        own += &format!("{name}: {value}\r\n");
    }
    let given =
        |name: &str| http.headers.iter().any(|header| header.name.decode().eq_ignore_ascii_case(name));
    let mut request = format!("GET {slash}{path} HTTP/1.1\r\n");
    if !given("Host") {
        let name = match address.host {
            Some(IpAddr::V6(host)) => format!("[{host}]"),
            Some(host) => host.to_string(),
            None => "localhost".to_owned(),
        };
        request += &format!("Host: {name}:{}\r\n", address.port);
    }
    if !given("User-Agent") {
        request += &format!("User-Agent: mote-probe/{}\r\n", mote::board::VERSION);
    }
    if !given("Accept") {
        request += "Accept: */*\r\n";
    }
    request += &own;
    request += "Connection: close\r\n\r\n";
    Ok(Handler::Http { address, request })
}

fn address(host: Option<Str<'_>>, object: &str, place: &Place<'_>) -> Result<Address> {
    let wrong = |field: &str, why: &str| (place.at)(&format!(".{object}.{field}"), why);
    let host = host.map(Str::decode).filter(|host| !host.is_empty());
    let host = host.map(|host| match host.as_str() {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        host => host.parse().map_err(|_| wrong("host", "expected an IP address or \"localhost\"")),
    });
    let raw = fields::member(fields::member(place.raw, object).unwrap_or(""), "port").unwrap_or("");
    let port = match raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')) {
        Some(name) => {
            let named = place.ports.iter().find(|port| port.name.is_some_and(|own| own == name));
            named.map(|port| port.container).or_else(|| name.parse().ok())
        }
        None => raw.parse().ok(),
    };
    let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let want = "expected a number from 1 to 65535, or the name of one of the container's ports";
    Ok(Address { host: host.transpose()?, port: port.ok_or_else(|| wrong("port", want))? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;
    use mote::json;

    fn read(task: Task, raw: &str) -> std::result::Result<(Probe, Handler), String> {
        let text: ProbeText<'_> = json::parse(raw.as_bytes()).expect(raw);
        let ports = r#"{"l":[{"name":"web","containerPort":8080},{"containerPort":1}]}"#;
        object! { struct Ports<'a> { l: List<PortText<'a>> = "l" } }
        let ports: Ports<'_> = json::parse(ports.as_bytes()).expect("ports");
        let at = |field: &str, why: &str| Error::config("x", field, why);
        probe(task, &text, &Place { raw, ports: &ports.l, at: &at }).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_are_those_of_kubernetes() {
        let (probe, handler) = read(Task::Liveness, r#"{"tcpSocket":{"port":80}}"#).expect("a probe");
        let want = Probe { delay_s: 0, period_s: 10, timeout_s: 1, success: 1, failure: 3, grace_s: None };
        assert_eq!(probe, want);
        assert_eq!(handler, Handler::Tcp(Address { host: None, port: 80 }));
        let zeros = r#"{"tcpSocket":{"port":80},"periodSeconds":0,"timeoutSeconds":0,"failureThreshold":0}"#;
        assert_eq!(read(Task::Liveness, zeros).expect("a probe").0, want);
    }

    #[test]
    fn every_field_is_read() {
        let raw = r#"{"exec":{"command":["cat","/x"]},"initialDelaySeconds":1,"periodSeconds":2,"timeoutSeconds":3,
            "successThreshold":1,"failureThreshold":5,"terminationGracePeriodSeconds":6}"#;
        let (probe, handler) = read(Task::Startup, raw).expect("a probe");
        let want = Probe { delay_s: 1, period_s: 2, timeout_s: 3, success: 1, failure: 5, grace_s: Some(6) };
        assert_eq!((probe, handler), (want, Handler::Exec(vec!["cat".into(), "/x".into()])));
    }

    #[test]
    fn a_request_is_what_kubelet_sends() {
        let raw = r#"{"httpGet":{"port":"web","path":"healthz?a=b","host":"::1",
            "httpHeaders":[{"name":"X-A","value":"b c"},{"name":"accept","value":"text/plain"}]}}"#;
        let (_, handler) = read(Task::Readiness, raw).expect("a probe");
        let Handler::Http { address, request } = handler else { unreachable!() };
        assert_eq!((address.port, address.host), (8080, "::1".parse().ok()));
        let agent = format!("User-Agent: mote-probe/{}\r\n", mote::board::VERSION);
        assert_eq!(
            request,
            format!(
                "GET /healthz?a=b HTTP/1.1\r\nHost: [::1]:8080\r\n{agent}X-A: b c\r\naccept: text/plain\r\nConnection: close\r\n\r\n"
            )
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (task, raw, says) in [
            (Task::Liveness, r#"{}"#, "expected one of exec"),
            (Task::Liveness, r#"{"exec":{"command":["a"]},"tcpSocket":{"port":1}}"#, "expected one of exec"),
            (Task::Liveness, r#"{"exec":{"command":[]}}"#, ".exec.command"),
            (Task::Liveness, r#"{"exec":{"command":["a\u0000b"]}}"#, ".exec.command[0]"),
            (Task::Liveness, r#"{"tcpSocket":{"port":0}}"#, ".tcpSocket.port"),
            (Task::Liveness, r#"{"tcpSocket":{"port":65536}}"#, ".tcpSocket.port"),
            (Task::Liveness, r#"{"tcpSocket":{"port":"nope"}}"#, ".tcpSocket.port"),
            (Task::Liveness, r#"{"tcpSocket":{}}"#, ".tcpSocket.port"),
            (Task::Liveness, r#"{"tcpSocket":{"port":1,"host":"example.org"}}"#, ".tcpSocket.host"),
            (Task::Liveness, r#"{"httpGet":{"port":1,"scheme":"HTTPS"}}"#, "mote has no TLS"),
            (Task::Liveness, r#"{"httpGet":{"port":1,"scheme":"ftp"}}"#, ".httpGet.scheme"),
            (Task::Liveness, r#"{"httpGet":{"port":1,"path":"/a b"}}"#, ".httpGet.path"),
            (Task::Liveness, r#"{"httpGet":{"port":1,"path":"/a\r\nX: y"}}"#, ".httpGet.path"),
            (
                Task::Liveness,
                r#"{"httpGet":{"port":1,"httpHeaders":[{"name":"a:","value":""}]}}"#,
                "[0].name",
            ),
            (
                Task::Liveness,
                r#"{"httpGet":{"port":1,"httpHeaders":[{"name":"a","value":"\r\n"}]}}"#,
                "[0].value",
            ),
            (Task::Liveness, r#"{"tcpSocket":{"port":1},"periodSeconds":-1}"#, "periodSeconds"),
            (Task::Liveness, r#"{"tcpSocket":{"port":1},"timeoutSeconds":86401}"#, "timeoutSeconds"),
            (Task::Liveness, r#"{"tcpSocket":{"port":1},"successThreshold":2}"#, "successThreshold"),
            (Task::Startup, r#"{"tcpSocket":{"port":1},"successThreshold":2}"#, "successThreshold"),
            (
                Task::Startup,
                r#"{"tcpSocket":{"port":1},"terminationGracePeriodSeconds":0}"#,
                "terminationGrace",
            ),
            (
                Task::Readiness,
                r#"{"tcpSocket":{"port":1},"terminationGracePeriodSeconds":1}"#,
                "terminationGrace",
            ),
        ] {
            let error = read(task, raw).expect_err(raw);
            assert!(error.contains(says), "{raw}: {error}");
        }
        assert!(read(Task::Readiness, r#"{"tcpSocket":{"port":"81"},"successThreshold":2}"#).is_ok());
    }
}
