//! `linux.intelRdt`: a share of the processor's caches and memory bandwidth; the kernel's Documentation/filesystems/resctrl.rst.

use std::ffi::CStr;

use super::{Checked, Str, Strings, refused, wrong};
use crate::spec;

/// A group of the resctrl filesystem.
#[derive(Debug)]
pub struct Rdt<'a> {
    /// Its directory, below the mount point; `.` is the root group.
    pub group: &'a CStr,
    /// Whether nobody has asked for a group of this name: it is the container's own, and goes with it.
    pub own: bool,
    /// Lines for its `schemata`; empty leaves it as it is.
    pub schemata: &'a CStr,
    /// Those that a group which is there already must have.
    pub expected: &'a CStr,
    /// The container's own monitoring group in it.
    pub monitor: Option<&'a CStr>,
}

impl Rdt<'_> {
    /// The groups that a process is to enter, in order, below the mount point.
    pub fn groups(&self) -> Vec<String> {
        let group = self.group.to_string_lossy();
        let monitor = self.monitor.map(|monitor| format!("{group}/{}", monitor.to_string_lossy()));
        std::iter::once(group.into_owned()).chain(monitor).collect()
    }

    /// The one of them that goes with the container, if any does.
    pub fn goes(&self) -> String {
        let mut groups = self.groups();
        let ends = self.own || groups.len() > 1;
        groups.truncate(if self.own { 1 } else { 2 });
        groups.pop().filter(|_| ends).unwrap_or_default()
    }
}

/// Checks and resolves it for the container `id`.
pub fn plan<'a>(linux: &spec::Linux<'_>, id: &str, strings: &mut Strings<'a>) -> Checked<Option<Rdt<'a>>> {
    let Some(rdt) = &linux.intel_rdt else { return Ok(None) };
    let full = |e| refused("linux.intelRdt", e);
    let own = rdt.clos_id.is_empty();
    let group = match &*rdt.clos_id.decode() {
        "" => id.to_owned(),
        // The group that everything is in.
        "/" => ".".to_owned(),
        name if matches!(name, "." | ".." | "info" | "mon_groups" | "mon_data") || name.contains('/') => {
            return wrong("linux.intelRdt.closID", "expected the name of a group, or / for the root group");
        }
        name => name.to_owned(),
    };
    let mut schemata = schemata(rdt, "linux.intelRdt.")?;
    let expected = strings.concat(&[schemata.as_bytes()]).map_err(full)?;
    for (i, text) in rdt.schemata.iter().enumerate() {
        add(&mut schemata, &line(*text, &format!("linux.intelRdt.schemata[{i}]"), "")?);
    }
    // What these two asked for in runtime-spec 1.2 has become one.
    let monitored = rdt.enable_monitoring || rdt.enable_cmt || rdt.enable_mbm;
    let monitor = format!("mon_groups/{id}");
    Ok(Some(Rdt {
        group: strings.concat(&[group.as_bytes()]).map_err(full)?,
        own,
        schemata: strings.concat(&[schemata.as_bytes()]).map_err(full)?,
        expected,
        monitor: monitored.then(|| strings.concat(&[monitor.as_bytes()])).transpose().map_err(full)?,
    }))
}

/// The lines of the two fields that have been there from the beginning; `at` is what their names begin with.
pub fn schemata(rdt: &spec::IntelRdt<'_>, at: &str) -> Checked<String> {
    let (mut schemata, bandwidth) = (String::new(), rdt.mem_bw_schema);
    if !rdt.l3_cache_schema.is_empty() {
        let text = line(rdt.l3_cache_schema, &format!("{at}l3CacheSchema"), "L3")?;
        // The line for the bandwidth is that of the field that is for it.
        let kept = |line: &&str| bandwidth.is_empty() || !line.trim_start().starts_with("MB:");
        text.lines().filter(kept).for_each(|line| add(&mut schemata, line));
    }
    if !bandwidth.is_empty() {
        add(&mut schemata, &line(bandwidth, &format!("{at}memBwSchema"), "MB:")?);
    }
    Ok(schemata)
}

fn add(lines: &mut String, line: &str) {
    lines.push_str(line.trim());
    lines.push('\n');
}

/// One line of a `schemata` file. That of the caches may be several, as older engines write it.
fn line(text: Str<'_>, field: &str, prefix: &str) -> Checked<String> {
    let decoded = text.decode();
    let several = prefix == "L3";
    if decoded.chars().any(|c| c.is_control() && !(several && c == '\n')) {
        return wrong(field, "expected one line");
    }
    let (resource, shares) = decoded.split_once(':').unwrap_or_default();
    if !resource.starts_with(prefix.trim_end_matches(':'))
        || resource.trim().is_empty()
        || !shares.contains('=')
    {
        let example = if prefix == "MB:" { "MB:0=20;1=70" } else { "L3:0=ff;1=c0" };
        return Err((field.to_owned(), format!("\"{text}\": expected a line such as {example}")).into());
    }
    Ok(decoded)
}
