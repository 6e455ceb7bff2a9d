//! `mote spec`: writes a `config.json` to start from.

use std::io::Write as _;

use super::create::BUNDLE;
use super::options::{Kind, Opt};
use super::{Command, Context};
use crate::error::{During, Error, Result};

pub const COMMAND: Command = Command {
    name: "spec",
    arguments: "",
    about: "write a config.json to start from",
    options: &[
        BUNDLE,
        Opt {
            name: "file",
            short: Some('f'),
            kind: Kind::Value("FILE"),
            about: "write to FILE of the bundle (config.json)",
        },
        Opt {
            name: "rootless",
            short: None,
            kind: Kind::Flag,
            about: "for a container without privileges, with the caller's own id",
        },
        Opt { name: "config", short: None, kind: Kind::Value("FILE"), about: "" },
    ],
    count: (0, 0),
    run,
};

/// A shell with a terminal, few capabilities, its own namespaces, and a read-only root.
const TEMPLATE: &str = include_str!("spec.json");

/// What of it takes privileges, and what takes its place: as `runc spec --rootless` has it. The namespaces come last, to be
/// followed by the mappings.
const ROOTLESS: &[(&str, &str)] = &[
    (",\n\t\t\t\t\"gid=5\"", ""),
    (
        "\"type\": \"sysfs\",\n\t\t\t\"source\": \"sysfs\",\n\t\t\t\"options\": [",
        "\"type\": \"none\",\n\t\t\t\"source\": \"/sys\",\n\t\t\t\"options\": [\n\t\t\t\t\"rbind\",",
    ),
    (
        "\t\t\"resources\": {\n\t\t\t\"devices\": [\n\t\t\t\t{\n\t\t\t\t\t\"allow\": false,\n\t\t\t\t\t\"access\": \"rwm\"\n\t\t\t\t}\n\t\t\t]\n\t\t},\n",
        "",
    ),
    ("\"type\": \"network\"", "\"type\": \"user\""),
];

/// The template for the caller, whose own ids are root's in the container.
fn rootless() -> String {
    let all = ROOTLESS.iter().fold(TEMPLATE.to_owned(), |text, (with, without)| text.replace(with, without));
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let mut maps = String::new();
    for (name, id) in [("uid", uid.as_raw()), ("gid", gid.as_raw())] {
        maps += &format!(
            "\t\t\"{name}Mappings\": [\n\t\t\t{{\n\t\t\t\t\"containerID\": 0,\n\t\t\t\t\"hostID\": {id},\n\t\t\t\t\"size\": 1\n\t\t\t}}\n\t\t],\n"
        );
    }
    all.replace("\t\t\"namespaces\": [", &format!("{maps}\t\t\"namespaces\": ["))
}

fn run(context: &Context<'_>) -> Result<i32> {
    let directory = context.options.path("bundle").unwrap_or(std::path::Path::new("."));
    let name = context.options.path("file").or(context.options.path("config"));
    let name = name.unwrap_or(std::path::Path::new("config.json"));
    let path = directory.join(name);
    let file = match std::fs::File::create_new(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::usage(format_args!("File {} exists. Remove it first", name.display())));
        }
        result => result.during("open", &*path),
    };
    let text =
        if context.options.has("rootless") { rootless().into() } else { std::borrow::Cow::from(TEMPLATE) };
    file?.write_all(text.as_bytes()).during("write", &*path)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_takes_privileges_is_in_the_template() {
        for (with, _) in ROOTLESS {
            assert_eq!(TEMPLATE.matches(with).count(), 1, "{with}");
        }
        assert_eq!(rootless().matches("hostID").count(), 2);
    }
}
