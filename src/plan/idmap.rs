//! Id-mapped bind mounts: `idmap`, `ridmap` and `mounts[].uidMappings`; mount_setattr(2), Linux 5.12.

use nix::sched::CloneFlags;

use super::ids::{self, Map, Maps};
use super::mounts::Mount;
use super::{Checked, Join, wrong};
use crate::json::List;
use crate::spec;

/// Which ids the files of a mount show with.
#[derive(Debug)]
pub struct Idmap {
    /// Whether all mounts below it have them too.
    pub recursive: bool,
    /// From those of the filesystem (inside) to those of the host (outside); empty for a joined user namespace's own.
    pub maps: Maps,
}

/// What the words and mappings of a mount ask for. `option` is the index of `idmap` or `ridmap`, whether it is the latter,
/// and what stands behind `=` in it.
pub fn one(
    entry: &spec::Mount<'_>,
    index: u16,
    bind: bool,
    option: Option<(usize, bool, String)>,
) -> Checked<Option<(bool, Asked)>> {
    let (uids, gids) = (&entry.uid_mappings, &entry.gid_mappings);
    let recursive = option.as_ref().is_some_and(|(_, recursive, _)| *recursive);
    let given = match (uids.is_empty(), gids.is_empty()) {
        (true, true) => None,
        (false, false) => Some(ids::maps(uids, gids, &format!("mounts[{index}]."))?),
        (no_users, _) => {
            let field = if no_users { "uidMappings" } else { "gidMappings" };
            return wrong(format!("mounts[{index}].{field}"), "missing: both kinds of ids have to be mapped");
        }
    };
    if !bind && (option.is_some() || given.is_some()) {
        return wrong(format!("mounts[{index}]"), "only a bind mount can have its ids mapped");
    }
    let asked = match (option, given) {
        (None, None) => return Ok(None),
        (None, Some(maps)) => {
            Asked { field: format!("mounts[{index}].uidMappings"), maps: Some(maps), inside: false }
        }
        (Some((n, _, text)), given) => {
            let field = format!("mounts[{index}].options[{n}]");
            match (text.is_empty(), given) {
                (true, maps) => Asked { field, maps, inside: false },
                (false, Some(_)) => return wrong(field, "has mappings beside those of uidMappings"),
                (false, None) => {
                    let ranges = text.strip_prefix('@');
                    let maps = ranges_of(ranges.unwrap_or(&text), &field)?;
                    Asked { field, maps: Some(maps), inside: ranges.is_some() }
                }
            }
        }
    };
    Ok(Some((recursive, asked)))
}

/// What stands in the file.
pub struct Asked {
    field: String,
    /// None: those of the container.
    maps: Option<Maps>,
    /// Whether their outside is the container's inside.
    inside: bool,
}

/// `uids=0-1-10#11-11-10;gids=0-3-10`, as crun(1) has it: first id in the filesystem, first id on the host, how many.
fn ranges_of(text: &str, field: &str) -> Checked<Maps> {
    let why = "expected uids=A-B-N#...;gids=A-B-N#..., N ids of the filesystem from A on showing as B and on";
    let mut lists: [List<spec::IdMapping>; 2] = Default::default();
    for part in text.split(';') {
        let (list, ranges) = match (part.strip_prefix("uids="), part.strip_prefix("gids=")) {
            (Some(ranges), _) => (0, ranges),
            (_, Some(ranges)) => (1, ranges),
            _ => return wrong(field, why),
        };
        for range in ranges.split('#') {
            let mut numbers = range.split('-').map(|number| number.parse::<u32>().ok());
            let mut next = || numbers.next().flatten();
            let (Some(container_id), Some(host_id), Some(size), None) =
                (next(), next(), next(), numbers.next())
            else {
                return wrong(field, why);
            };
            if let Some(list) = lists.get_mut(list) {
                list.0.push(spec::IdMapping { container_id, host_id, size });
            }
        }
    }
    let [uids, gids] = &lists;
    if uids.is_empty() || gids.is_empty() {
        return wrong(field, why);
    }
    ids::maps(uids, gids, &format!("{field}."))
}

/// Settles what the mounts have asked for, now that the container's own ids are known.
pub fn settle(
    mounts: &mut [Mount<'_>],
    asked: Vec<(usize, bool, Asked)>,
    container: &Maps,
    join: &[Join<'_>],
    own: CloneFlags,
) -> Checked<()> {
    for (place, recursive, Asked { field, maps, inside }) in asked {
        let Some(mount) = mounts.get_mut(place) else { continue };
        if join.iter().any(|join| join.kind == CloneFlags::CLONE_NEWNS) {
            return wrong(field, "cannot be had in a mount namespace that is joined");
        }
        let maps = match maps {
            Some(maps) if inside => Maps {
                uid: translated(&maps.uid, &container.uid, &field)?,
                gid: translated(&maps.gid, &container.gid, &field)?,
            },
            Some(maps) => maps,
            None if own.contains(CloneFlags::CLONE_NEWUSER) => container.clone(),
            None => {
                return wrong(
                    field,
                    "needs uidMappings and gidMappings, or a user namespace to take them from",
                );
            }
        };
        mount.idmap = Some(Idmap { recursive, maps });
    }
    Ok(())
}

/// Maps whose outside is the container's inside, with the host's ids as their outside. Each has to lie in one range.
fn translated(maps: &[Map], container: &[Map], field: &str) -> Checked<Vec<Map>> {
    let one = |map: &Map| {
        container.iter().find_map(|range| {
            let offset = map.outside.checked_sub(range.inside)?;
            let end = offset.checked_add(map.count)?;
            (end <= range.count).then_some(Map { outside: range.outside + offset, ..*map })
        })
    };
    let all: Option<Vec<Map>> = maps.iter().map(one).collect();
    all.map_or_else(|| wrong(field, "leads to ids that the container does not have"), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cruns_ranges_are_read() {
        let Ok(maps) = ranges_of("uids=0-1-10#11-11-10;gids=0-3-10", "o") else { unreachable!() };
        let map = |inside, outside, count| Map { inside, outside, count };
        assert_eq!(maps.uid, [map(0, 1, 10), map(11, 11, 10)]);
        assert_eq!(maps.gid, [map(0, 3, 10)]);
        for wrong in [
            "",
            "uids=0-1-10",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-1-1;gids=0-0-1",
            "uids=a-1-1;gids=0-0-1",
            "x",
        ] {
            assert!(ranges_of(wrong, "o").is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_of_the_container_are_translated_to_the_hosts() {
        let map = |inside, outside, count| Map { inside, outside, count };
        let container = [map(0, 100_000, 10), map(10, 500, 5)];
        assert_eq!(
            translated(&[map(7, 11, 2), map(0, 0, 1)], &container, "o"),
            Ok(vec![map(7, 501, 2), map(0, 100_000, 1)])
        );
        assert!(translated(&[map(0, 8, 3)], &container, "o").is_err(), "over the end of a range");
        assert!(translated(&[map(0, 15, 1)], &container, "o").is_err());
    }
}
