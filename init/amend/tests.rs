//! Bundles with what manifests change about them.

use super::*;
use crate::manifest;

/// The config.json that a bundle's `config` becomes by a pod with `spec` and one container with `container`.
fn amended(config: &str, spec: &str, container: &str, found: &Found) -> std::result::Result<String, String> {
    let text = format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{{{spec}"containers":[{{"name":"c","image":"b"{container}}}]}}}}"#
    );
    let pod = manifest::parse("p.json", text.as_bytes()).map_err(|e| e.to_string())?;
    let Ok(shape) = json::parse::<Spec<'_>>(config.as_bytes()) else { unreachable!("{config}") };
    amend(config, &shape, &pod, &pod.containers[0], found).map_err(|(field, why)| format!("{field}: {why}"))
}

#[test]
fn a_field_is_set_wherever_it_is_to_be() {
    for (text, path, want) in [
        ("{}", &["a"][..], r#"{"a":1}"#),
        (r#"{"b": 2 , "a":{"x":3}}"#, &["a"], r#"{"b": 2,"a":1}"#),
        (r#"{"a":{"x":3,"y":[4]},"b":5}"#, &["a", "x"], r#"{"b":5,"a":{"y":[4],"x":1}}"#),
        ("{}", &["a", "b", "c"], r#"{"a":{"b":{"c":1}}}"#),
        // As they are read, two objects of one name are one.
        (r#"{"a":{"x":3},"a":{"y":4}}"#, &["a", "x"], r#"{"a":{"y":4,"x":1}}"#),
        (r#"{"a":null}"#, &["a", "x"], r#"{"a":{"x":1}}"#),
    ] {
        assert_eq!(set(text, path, "1"), want, "{text} {path:?}");
    }
}

#[test]
fn a_manifest_that_says_nothing_leaves_the_bundle_as_it_is() {
    let config =
        r#"{ "process":{"user":{"uid":5,"gid":6,"additionalGids":[7]},"capabilities":{}},"mounts":[] }"#;
    assert_eq!(amended(config, "", "", &Found::default()).as_deref(), Ok(config));
}

#[test]
fn a_bundle_as_runc_writes_it_gets_no_terminal() {
    let config = r#"{"process":{"terminal":true,"cwd":"/"}}"#;
    let want = r#"{"process":{"cwd":"/","terminal":false}}"#;
    assert_eq!(amended(config, "", "", &Found::default()).as_deref(), Ok(want));
}

#[test]
fn another_user_has_nothing_of_the_bundles() {
    let config = r#"{"process":{"user":{"uid":5,"gid":6,"umask":18,"additionalGids":[7]}}}"#;
    let user = |spec: &str, container: &str, group: Option<u32>| {
        let text = amended(config, spec, container, &Found { group, ..Found::default() })?;
        let Ok(spec) = json::parse::<Spec<'_>>(text.as_bytes()) else { unreachable!("{text}") };
        let user = spec.process.unwrap_or_default().user;
        assert_eq!(user.umask, Some(18), "{text}");
        Ok((user.uid, user.gid, user.additional_gids.to_vec()))
    };
    let context = |fields: &str| format!(r#""securityContext":{{{fields}}},"#);
    let own = |fields: &str| format!(r#","securityContext":{{{fields}}}"#);
    let ok = |uid, gid, groups: &[u32]| Ok::<_, String>((uid, gid, groups.to_vec()));
    assert_eq!(user("", &own(r#""runAsUser":9"#), None), ok(9, 0, &[]));
    assert_eq!(user("", &own(r#""runAsUser":9"#), Some(33)), ok(9, 33, &[]));
    assert_eq!(user("", &own(r#""runAsUser":5"#), Some(33)), ok(5, 6, &[7]));
    assert_eq!(user("", &own(r#""runAsGroup":8"#), None), ok(5, 8, &[7]));
    assert_eq!(
        user(&context(r#""runAsUser":9,"runAsGroup":8"#), &own(r#""runAsUser":10"#), None),
        ok(10, 8, &[])
    );
    assert_eq!(user(&context(r#""fsGroup":7,"supplementalGroups":[7,3]"#), "", None), ok(5, 6, &[7, 3]));
    let strict = r#""supplementalGroups":[3],"supplementalGroupsPolicy":"Strict""#;
    assert_eq!(user(&context(strict), "", None), ok(5, 6, &[3]));
    assert_eq!(user(&context(r#""runAsNonRoot":true"#), "", None), ok(5, 6, &[7]));
    let refused = user(&context(r#""runAsNonRoot":true"#), &own(r#""runAsUser":0"#), None);
    assert_eq!(refused.as_ref().err().map(|e| e.contains("runAsUser: 0 is root")), Some(true), "{refused:?}");
}

#[test]
fn capabilities_are_the_bundles_with_what_is_added_and_dropped() {
    let config = r#"{"process":{"capabilities":{"bounding":["CAP_KILL","CAP_CHOWN"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"],
        "ambient":["CAP_KILL"],"inheritable":["CAP_KILL"]}}}"#;
    let all = Found { capabilities: 0x3f, ..Found::default() };
    let sets = |change: &str| {
        let container = format!(r#","securityContext":{{"capabilities":{{{change}}}}}"#);
        let Ok(text) = amended(config, "", &container, &all) else { unreachable!("{change}") };
        let Ok(spec) = json::parse::<Spec<'_>>(text.as_bytes()) else { unreachable!("{text}") };
        let sets = spec.process.unwrap_or_default().capabilities.unwrap_or_default();
        [sets.bounding, sets.effective, sets.permitted, sets.inheritable, sets.ambient]
            .map(|set| set.iter().map(|name| name.decode().split_off(4)).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(sets(r#""drop":["KILL"]"#), ["CHOWN", "", "", "", ""]);
    assert_eq!(sets(r#""drop":["all"],"add":["SETUID"]"#), ["SETUID", "SETUID", "SETUID", "", ""]);
    assert_eq!(
        sets(r#""add":["CAP_FOWNER"]"#),
        ["CHOWN FOWNER KILL", "FOWNER KILL", "FOWNER KILL", "KILL", "KILL"]
    );
    let most = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FSETID KILL";
    assert_eq!(sets(r#""add":["ALL"],"drop":["FOWNER"]"#), [most, most, most, "KILL", "KILL"]);
}

#[test]
fn what_is_bound_takes_the_place_of_the_bundles_mounts() {
    let config = r#"{"mounts":[{"destination":"/dev/shm","type":"tmpfs","source":"shm"},{"destination":"/sys","type":"sysfs",
        "source":"sysfs","options":["nosuid","ro"]},{"destination":"/x","type":"bind","source":"/y","options":["ro"],
        "uidMappings":[{"containerID":0,"hostID":1,"size":2}]}]}"#;
    let bind = Bind {
        target: "/dev/shm".to_owned(),
        source: "/proc/self/fd/9".to_owned(),
        options: vec!["rbind", "rro"],
    };
    let found = Found { binds: vec![bind], ..Found::default() };
    let Ok(text) = amended(config, "", r#","securityContext":{"privileged":true}"#, &found) else {
        unreachable!()
    };
    let Ok(spec) = json::parse::<Spec<'_>>(text.as_bytes()) else { unreachable!("{text}") };
    let mounts: Vec<_> = spec
        .mounts
        .iter()
        .map(|m| (m.destination.decode(), m.options.iter().map(|o| o.decode()).collect::<Vec<_>>().join(",")))
        .collect();
    let want = [("/sys", "nosuid"), ("/x", "ro"), ("/dev/shm", "rbind,rro")];
    assert_eq!(mounts, want.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let map = spec.mounts[1].uid_mappings.first().map(|map| (map.container_id, map.host_id, map.size));
    assert_eq!(map, Some((0, 1, 2)));
}

#[test]
fn sysctls_of_the_pod_come_before_the_bundles() {
    let config = r#"{"linux":{"sysctl":{"net/ipv4/ip_forward":"0","net.core.somaxconn":"9"}}}"#;
    let sysctls = r#""securityContext":{"sysctls":[{"name":"net.ipv4.ip_forward","value":"1"}]},"#;
    let want = r#"{"linux":{"sysctl":{"net.core.somaxconn":"9","net.ipv4.ip_forward":"1"}}}"#;
    assert_eq!(amended(config, sysctls, "", &Found::default()).as_deref(), Ok(want));
}
