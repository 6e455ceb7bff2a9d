//! What PID 1 can be asked for. A request is one JSON object: `version`, which is 1, `request`, and what that needs.
//!
//! | request | needs | |
//! | --- | --- | --- |
//! | `ps` | | all pods and containers |
//! | `reload` | | looks at all manifests again |
//! | `poweroff`, `reboot`, `halt` | | the way down, of a device alone |
//! | `attach` | `pod`, `container` | what is written to its standard input, by `SCM_RIGHTS` with the last packet |
//! | `view` | `pod`, `container` | what it prints to its terminal from now on, likewise |
//! | `start`, `stop`, `restart` | `pod`; `grace_s` | a pod |

use crate::fields;
use crate::name::Name;
use crate::pods::Order;
use crate::power::Kind;

/// The version of the messages.
const VERSION: &str = "1";

/// The longest grace that can be asked for, a day, as in a manifest.
const GRACE_MAX_S: u64 = 86_400;

/// A request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// What is there.
    Ps,
    /// A look at all manifests.
    Reload,
    /// The way down.
    Power(Kind),
    /// Something for one pod.
    Pod(Order, Name),
    /// The standard input of a container, of a pod.
    Attach(Name, Name),
    /// What a container of a pod prints to its terminal.
    View(Name, Name),
}

impl Request {
    /// What is asked, or what is wrong with the question. Allocates nothing.
    pub fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        if fields::member(text, "version") != Some(VERSION) {
            return Err("expected version 1");
        }
        let word = string(text, "request").unwrap_or_default();
        let power = [Kind::PowerOff, Kind::Reboot, Kind::Halt].into_iter().find(|kind| kind.word() == word);
        let grace_ms = match fields::member(text, "grace_s").map(str::parse::<u64>) {
            None => None,
            Some(Ok(grace_s @ 0..=GRACE_MAX_S)) => Some(grace_s * 1000),
            Some(_) => return Err("expected grace_s from 0 to 86400"),
        };
        let order = match (word, power) {
            ("attach" | "view", _) => {
                let name = |key| string(text, key).and_then(Name::new);
                let names = name("pod").zip(name("container"));
                let (pod, container) = names.ok_or("expected the names of a pod and a container")?;
                let kind = if word == "view" { Self::View } else { Self::Attach };
                return Ok(kind(pod, container));
            }
            ("ps", _) => return Ok(Self::Ps),
            ("reload", _) => return Ok(Self::Reload),
            (_, Some(kind)) => return Ok(Self::Power(kind)),
            ("start", _) => Order::Start,
            ("stop", _) => Order::Stop { grace_ms },
            ("restart", _) => Order::Restart { grace_ms },
            _ => {
                return Err(
                    "expected request ps, reload, attach, view, start, stop, restart, poweroff, reboot or halt",
                );
            }
        };
        let pod = string(text, "pod").and_then(Name::new).ok_or("expected the name of a pod")?;
        Ok(Self::Pod(order, pod))
    }
}

/// A member that is a string without anything to decode.
fn string<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let text = fields::member(text, key)?.strip_prefix('"')?.strip_suffix('"')?;
    Some(text).filter(|text| !text.contains('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_questions_of_this_version_are_answered() {
        let read = |text: &str| Request::read(text.as_bytes());
        assert_eq!(read(r#"{"version":1,"request":"ps"}"#), Ok(Request::Ps));
        assert_eq!(read(r#" { "request" : "halt" , "version" : 1 } "#), Ok(Request::Power(Kind::Halt)));
        let Some(web) = Name::new("web") else { unreachable!() };
        let stop = |grace_ms| Ok(Request::Pod(Order::Stop { grace_ms }, web.clone()));
        assert_eq!(read(r#"{"version":1,"request":"stop","pod":"web"}"#), stop(None));
        assert_eq!(read(r#"{"version":1,"request":"stop","pod":"web","grace_s":2}"#), stop(Some(2000)));
        for bad in [
            "",
            "{}",
            "[1]",
            r#"{"version":2,"request":"ps"}"#,
            r#"{"version":1,"request":"p"#,
            r#"{"version":1,"request":"format"}"#,
            r#"{"version":1}"#,
            r#"{"version":1,"request":"stop"}"#,
            r#"{"version":1,"request":"stop","pod":"../web"}"#,
            r#"{"version":1,"request":"stop","pod":"we\u0062"}"#,
            r#"{"version":1,"request":"stop","pod":"web","grace_s":-1}"#,
            r#"{"version":1,"request":"stop","pod":"web","grace_s":86401}"#,
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(Request::read(b"\xff").is_err());
    }
}
