//! Limits as the kernel takes them: a file, and what is written to it.

use std::borrow::Cow;

use nix::errno::Errno;

use super::devices::{self, Rule};
use super::{Cgroup, Cgroups, Place, Where, get, put, v1};
use crate::error::{Error, Result, words};

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where the file's controller is.
    pub at: Where,
    /// The file.
    pub file: Cow<'static, str>,
    /// What is written.
    pub value: String,
    /// The JSON path that asks for it.
    pub field: String,
    /// What is done when the kernel does not take it.
    pub or: Or,
}

/// What is done when the kernel does not take a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Or {
    /// It is a failure.
    Fail,
    /// Without the file nothing is asked for.
    Nothing,
    /// Without the file the next setting stands in for it, and only then.
    Next,
    /// It may depend on the next one: then that goes first.
    AfterNext,
}

/// Everything that `linux.resources` asks for.
#[derive(Debug, Default)]
pub struct Resources {
    /// In order.
    pub settings: Vec<Setting>,
    /// Which devices may be used; `None` leaves them as they are.
    pub devices: Option<Vec<Rule>>,
}

impl Cgroups {
    /// Writes all of it to the cgroup at `place`. With `take_back`, what a failure has left behind is undone.
    pub fn apply(
        &self,
        resources: &Resources,
        place: &Place<'_>,
        cgroup: &Cgroup,
        take_back: bool,
    ) -> Result<()> {
        if place.path.is_empty() {
            return Ok(());
        }
        let mut undo = Vec::new();
        let applied = self
            .write_all(&resources.settings, place, cgroup, if take_back { Some(&mut undo) } else { None })
            .and_then(|()| match &resources.devices {
                Some(rules) => self.apply_devices(rules, place, cgroup, take_back),
                None => Ok(()),
            });
        if applied.is_err() {
            for (at, file, value) in undo.iter().rev() {
                let _ = cgroup.at(*at).map(|directory| put(directory, file, value)); // the failure is what is told
            }
        }
        applied
    }

    fn write_all(
        &self,
        settings: &[Setting],
        place: &Place<'_>,
        cgroup: &Cgroup,
        mut undo: Option<&mut Vec<(Where, String, String)>>,
    ) -> Result<()> {
        let mut write = |setting: &Setting| {
            let directory = cgroup.at(setting.at).ok_or(Errno::ENOENT)?;
            if let Some(undo) = undo.as_deref_mut() {
                let now = get(directory, &setting.file).unwrap_or_default();
                undo.push((setting.at, setting.file.clone().into_owned(), before(&now, &setting.value)));
            }
            put(directory, &setting.file, &setting.value)
        };
        let refused = |setting: &Setting, errno| {
            self.refused(setting.at, place, &setting.field, (&setting.file, &setting.value), errno)
        };
        let mut rest = settings;
        while let Some((setting, after)) = rest.split_first() {
            rest = after;
            match (write(setting), setting.or, after.split_first()) {
                (Ok(()), Or::Next, Some((_, after))) => rest = after,
                (Ok(()), ..) => {}
                (Err(Errno::ENOENT | Errno::EOPNOTSUPP), Or::Next, Some(_)) => {}
                (Err(Errno::ENOENT), Or::Nothing, _) => {}
                (Err(Errno::EINVAL | Errno::EBUSY), Or::AfterNext, Some((next, after))) => {
                    write(next).map_err(|errno| refused(next, errno))?;
                    write(setting).map_err(|errno| refused(setting, errno))?;
                    rest = after;
                }
                (Err(errno), ..) => return Err(refused(setting, errno)),
            }
        }
        Ok(())
    }

    /// A value that the kernel did not take: the field, the file, the value and why.
    fn refused(
        &self,
        at: Where,
        place: &Place<'_>,
        field: &str,
        (file, value): (&str, &str),
        errno: Errno,
    ) -> Error {
        let path = self.path(at, place).join(file);
        let why = match errno {
            Errno::ENOENT => "this kernel, or the cgroup above, does not have the file",
            other => words(other),
        };
        Error::usage(format_args!("{field}: write \"{}\" to {}: {why}", value, path.display()))
    }

    /// Limits devices: by files on a host whose controller is on cgroup v1, otherwise by a program.
    fn apply_devices(&self, rules: &[Rule], place: &Place<'_>, cgroup: &Cgroup, replace: bool) -> Result<()> {
        let field = "linux.resources.devices";
        // A container that came to have cgroups on v1 only later has had a program before.
        let programmed = || {
            let attached = cgroup.directory().and_then(|d| crate::sys::bpf::attached_cgroup_device(d).ok());
            replace && attached.is_some_and(|programs| !programs.is_empty())
        };
        let v1 = cgroup.v1.iter().find(|(index, _)| self.find("devices", "") == Some(Where::V1(*index)));
        let v1 = v1.filter(|_| !programmed());
        match (v1, cgroup.directory()) {
            (Some((index, directory)), _) => {
                let refused = |file: &str, rule: &str, errno| {
                    self.refused(Where::V1(*index), place, field, (file, rule), errno)
                };
                v1::apply_devices(&devices::folded(rules), std::os::fd::AsFd::as_fd(directory), &refused)
            }
            (None, Some(directory)) => devices::apply(rules, directory, replace),
            (None, None) => Err(Error::usage(format_args!(
                "{field}: this host has no cgroup that could keep devices away"
            ))),
        }
    }
}

/// What takes a file that reads `now` back from `value`: all of it, or the line of the same device.
fn before(now: &str, value: &str) -> String {
    let device = value.split(' ').next().filter(|word| word.contains(':'));
    let Some(device) = device else { return now.trim_end().to_owned() };
    let line = now.lines().find(|line| line.split(' ').next() == Some(device));
    match (line, value.split_once('=')) {
        (Some(line), _) => line.to_owned(),
        (None, Some((key, _))) => format!("{key}=max"),
        (None, None) => format!("{device} 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn what_was_there_before_is_the_whole_file_or_the_line_of_the_device() {
        assert_eq!(before("max 100000\n", "5000 10000"), "max 100000");
        assert_eq!(before("8:0 rbps=1 wbps=max\n8:16 rbps=2\n", "8:16 wbps=7"), "8:16 rbps=2");
        assert_eq!(before("", "8:16 wbps=7"), "8:16 wbps=max");
        assert_eq!(before("", "8:16 7"), "8:16 0");
    }
}
