//! `linux.uidMappings` and `linux.gidMappings`: checked against each other and against what the kernel takes.

use std::fmt::Write as _;

use nix::sched::CloneFlags;

use super::{Checked, Join, Spec, wrong};
use crate::json::List;
use crate::spec;

/// A range of ids inside a user namespace and where it lies outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map {
    /// The first id inside.
    pub inside: u32,
    /// The first id outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// The ids of a user namespace.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Maps {
    /// Users.
    pub uid: Vec<Map>,
    /// Groups.
    pub gid: Vec<Map>,
}

/// The lines of a map that the kernel takes since Linux 4.15; user_namespaces(7).
const LINES_MAX: usize = 340;

/// The kernel takes less than a page of text in its one write; user_namespaces(7).
const TEXT_MAX: usize = 4096;

impl Maps {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.uid.is_empty() && self.gid.is_empty()
    }
}

/// Whether an id inside is one of those mapped.
pub fn covers(maps: &[Map], id: u32) -> bool {
    outside(maps, id).is_some()
}

/// The id outside that `id` is inside, if it is one of those mapped.
pub fn outside(maps: &[Map], id: u32) -> Option<u32> {
    maps.iter().find_map(|map| {
        let offset = id.checked_sub(map.inside).filter(|offset| *offset < map.count)?;
        map.outside.checked_add(offset)
    })
}

/// As `/proc/<pid>/uid_map` takes it.
pub fn text(maps: &[Map]) -> String {
    let mut text = String::new();
    for map in maps {
        let _ = writeln!(text, "{} {} {}", map.inside, map.outside, map.count); // cannot fail on a String
    }
    text
}

/// The maps of the container's user namespace; empty without one.
pub fn plan(spec: &Spec<'_>, new: CloneFlags, join: &[Join<'_>]) -> Checked<Maps> {
    let (uids, gids) = (&spec.linux.uid_mappings, &spec.linux.gid_mappings);
    let own = new.contains(CloneFlags::CLONE_NEWUSER);
    let joined = join.iter().any(|join| join.kind == CloneFlags::CLONE_NEWUSER);
    if uids.is_empty() && gids.is_empty() && !own {
        return Ok(Maps::default());
    }
    for (list, field) in [(uids, "linux.uidMappings"), (gids, "linux.gidMappings")] {
        match (own || joined, list.is_empty()) {
            (false, false) => return wrong(field, "needs a namespace of type user in linux.namespaces"),
            (true, true) => {
                return wrong(field, "missing: a user namespace needs mappings of users and of groups");
            }
            _ => {}
        }
    }
    let maps = self::maps(uids, gids, "linux.")?;
    let Some(user) = spec.process.as_ref().map(|process| &process.user) else { return Ok(maps) };
    let outside = |id: u32, field: &str, list: &str| {
        wrong(field, &format!("{id} is in none of linux.{list}, so nobody can be it in the container"))
    };
    if !covers(&maps.uid, user.uid) {
        return outside(user.uid, "process.user.uid", "uidMappings");
    }
    if !covers(&maps.gid, user.gid) {
        return outside(user.gid, "process.user.gid", "gidMappings");
    }
    for (i, &gid) in user.additional_gids.iter().enumerate() {
        if !covers(&maps.gid, gid) {
            return outside(gid, &format!("process.user.additionalGids[{i}]"), "gidMappings");
        }
    }
    if denies_groups(&maps) && !user.additional_gids.is_empty() {
        return wrong(
            "process.user.additionalGids",
            "an unprivileged user who maps one group only cannot set groups, setgroups(2)",
        );
    }
    Ok(maps)
}

/// Both lists, named `uidMappings` and `gidMappings` behind `prefix`.
pub fn maps(uids: &List<spec::IdMapping>, gids: &List<spec::IdMapping>, prefix: &str) -> Checked<Maps> {
    Ok(Maps {
        uid: one(uids, &format!("{prefix}uidMappings"))?,
        gid: one(gids, &format!("{prefix}gidMappings"))?,
    })
}

/// Whether the kernel wants `setgroups` denied before it takes the map of groups: from a user without privileges who
/// maps nothing but the own group; user_namespaces(7), CVE-2014-8989.
pub fn denies_groups(maps: &Maps) -> bool {
    !nix::unistd::geteuid().is_root() && is_own(&maps.gid, nix::unistd::getegid().as_raw())
}

/// The annotation by which the caller's groups stay, in place of `process.user.additionalGids`; crun(1). Podman writes it for
/// `--group-add keep-groups`, beside the groups that the image's user has.
pub const KEEP_ORIGINAL_GROUPS: &str = "run.oci.keep_original_groups";

/// Whether it is there.
pub fn keeps_groups(spec: &spec::Spec<'_>) -> Checked<bool> {
    const KEY: &str = KEEP_ORIGINAL_GROUPS;
    match spec.annotations.iter().find(|(key, _)| *key == KEY) {
        Some((_, value)) if *value != "1" => wrong(format!("annotations[\"{KEY}\"]"), "expected \"1\""),
        found => Ok(found.is_some()),
    }
}

/// Whether this is the one mapping that needs no privilege.
pub fn is_own(maps: &[Map], id: u32) -> bool {
    matches!(maps, [Map { outside, count: 1, .. }] if *outside == id)
}

/// Checks one list.
fn one(list: &List<spec::IdMapping>, field: &str) -> Checked<Vec<Map>> {
    if list.len() > LINES_MAX {
        return wrong(field, &format!("{} mappings; the kernel takes {LINES_MAX} at most", list.len()));
    }
    let mut maps: Vec<Map> = Vec::with_capacity(list.len());
    for (i, mapping) in list.iter().enumerate() {
        let map = Map { inside: mapping.container_id, outside: mapping.host_id, count: mapping.size };
        let at = |name: &str| format!("{field}[{i}].{name}");
        if map.count == 0 {
            return wrong(at("size"), "expected a number from 1 to 4294967295");
        }
        for (first, name) in [(map.inside, "containerID"), (map.outside, "hostID")] {
            // 4294967295 is nobody's id, so no range may reach it.
            if first.checked_add(map.count).is_none() {
                return wrong(at("size"), &format!("{name} and size together are above 4294967295"));
            }
        }
        // The sums were checked when each was added.
        let apart = |a: u32, b: u32, other: &Map| a >= b + other.count || b >= a + map.count;
        for (n, other) in maps.iter().enumerate() {
            let name = match () {
                () if !apart(map.inside, other.inside, other) => "containerID",
                () if !apart(map.outside, other.outside, other) => "hostID",
                () => continue,
            };
            return wrong(at(name), &format!("overlaps with {field}[{n}]"));
        }
        maps.push(map);
    }
    let len = text(&maps).len();
    if len >= TEXT_MAX {
        return wrong(
            field,
            &format!("{len} bytes as the kernel reads them; it takes {} at most", TEXT_MAX - 1),
        );
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ranges: &[(u32, u32, u32)]) -> List<spec::IdMapping> {
        let one = |&(container_id, host_id, size): &_| spec::IdMapping { container_id, host_id, size };
        List(ranges.iter().map(one).collect())
    }

    #[test]
    fn ranges_of_ids_must_be_apart_and_within_32_bits() {
        for (ranges, wrong) in [
            (&[(0, 0, 0)][..], "m[0].size: expected a number from 1 to 4294967295"),
            (&[(1, 0, u32::MAX)], "m[0].size: containerID and size together are above 4294967295"),
            (&[(0, 4_294_967_290, 6)], "m[0].size: hostID and size together are above 4294967295"),
            (&[(0, 10, 10), (9, 100, 1)], "m[1].containerID: overlaps with m[0]"),
            (&[(5, 10, 10), (0, 100, 6)], "m[1].containerID: overlaps with m[0]"),
            (&[(0, 10, 10), (50, 15, 1), (10, 0, 10)], "m[1].hostID: overlaps with m[0]"),
            (&[(3, 3, 1), (3, 4, 1)], "m[1].containerID: overlaps with m[0]"),
        ] {
            let Err(found) = one(&list(ranges), "m") else { unreachable!("{ranges:?}") };
            assert_eq!(format!("{}: {}", found.0, found.1), wrong);
        }
        for ranges in
            [&[(0, 0, u32::MAX)][..], &[(0, 4_294_967_289, 6)], &[(0, 10, 10), (10, 0, 10), (20, 20, 5)]]
        {
            assert!(one(&list(ranges), "m").is_ok(), "{ranges:?}");
        }
    }

    #[test]
    fn a_map_has_as_many_lines_and_bytes_as_the_kernel_takes() {
        let many = |count: u32, step: u32| {
            let ranges: Vec<_> = (0..count).map(|i| (i * step, i * step, 1)).collect();
            one(&list(&ranges), "m").map_or_else(|wrong| wrong.1, |maps| maps.len().to_string())
        };
        assert_eq!(many(340, 1), "340");
        assert_eq!(many(341, 1), "341 mappings; the kernel takes 340 at most");
        assert_eq!(many(10_000, 1), "10000 mappings; the kernel takes 340 at most");
        assert_eq!(many(340, 1_000_000), "7248 bytes as the kernel reads them; it takes 4095 at most");
    }

    #[test]
    fn covered_is_what_lies_in_a_range() {
        let maps = [Map { inside: 5, outside: 100, count: 2 }, Map { inside: 0, outside: 0, count: 1 }];
        let covered: Vec<u32> = (0..10).filter(|&id| covers(&maps, id)).collect();
        assert_eq!(covered, [0, 5, 6]);
        assert_eq!(text(&maps), "5 100 2\n0 0 1\n");
    }
}
