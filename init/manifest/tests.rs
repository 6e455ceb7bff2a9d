//! Manifests as people and tools write them, right and wrong.

use mote::seccomp::Wish;

use super::*;

const GATEWAY: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"gateway","labels":{"app":"x"}},
    "spec":{"restartPolicy":"OnFailure","terminationGracePeriodSeconds":5,"hostname":"gw","containers":[
    {"name":"broker","image":"broker","command":["/usr/sbin/mosquitto"],"args":["-v"],"ports":[{"containerPort":1883}],"resources":{}},
    {"name":"sensor","image":"sensor","env":[{"name":"HOST","value":"127.0.0.1"},{"name":"EMPTY"}],"workingDir":"/tmp"}]}}"#;

/// A pod with `spec` and one container made of `container`.
fn pod(spec: &str, container: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p"}},"spec":{{{spec}"containers":[{{"name":"c","image":"b"{container}}}]}}}}"#
    )
}

fn flaw(text: &[u8]) -> (String, String) {
    match parse("p.json", text) {
        Err(error) => {
            let Some(flaw) = error.flaw() else { unreachable!("{error:?}") };
            assert_eq!(&*flaw.file, "p.json");
            (flaw.field.to_string(), flaw.why.to_string())
        }
        Ok(pod) => unreachable!("{pod:?}"),
    }
}

#[test]
fn the_demo_pod_is_read() {
    let Ok(pod) = parse("gateway.json", GATEWAY.as_bytes()) else { unreachable!() };
    assert_eq!((pod.name.as_str(), pod.restart, pod.grace_s), ("gateway", RestartPolicy::OnFailure, 5));
    assert_eq!(pod.hostname, Name::new("gw"));
    assert_eq!(pod.containers[0].command, ["/usr/sbin/mosquitto"]);
    assert_eq!(pod.containers[1].env, ["HOST=127.0.0.1", "EMPTY="]);
    assert_eq!(pod.containers[1].cwd.as_deref(), Some("/tmp"));
    assert!(pod.passed.is_empty());
}

#[test]
fn what_is_left_out_has_the_defaults_of_kubernetes() {
    let Ok(pod) = parse("p.json", pod("", "").as_bytes()) else { unreachable!() };
    assert_eq!(
        (pod.restart, pod.grace_s, pod.host_network),
        (RestartPolicy::Always, mote::board::GRACE_DEFAULT_S, false)
    );
    assert_eq!(pod.hostname, Name::new("p"), "the pod's name");
    assert!(pod.containers[0].command.is_empty() && pod.containers[0].cwd.is_none());
}

#[test]
fn the_seccomp_profile_of_a_container_counts_before_that_of_its_pod() {
    let pods = r#""securityContext":{"seccompProfile":{"type":"RuntimeDefault"}},"#;
    let own = r#","securityContext":{"seccompProfile":{"type":"Unconfined"}}"#;
    for (text, wish) in [
        (pod("", ""), None),
        (pod(pods, ""), Some(Wish::RuntimeDefault)),
        (pod(pods, own), Some(Wish::Unconfined)),
        (pod("", own), Some(Wish::Unconfined)),
    ] {
        let Ok(pod) = parse("p.json", text.as_bytes()) else { unreachable!("{text}") };
        assert_eq!(pod.containers[0].security.seccomp, wish.map(security::Profile::Wish), "{text}");
    }
}

#[test]
fn a_host_network_pod_has_the_name_of_the_device() {
    let Ok(pod) = parse("p.json", pod(r#""hostNetwork":true,"hostname":"x","#, "").as_bytes()) else {
        unreachable!()
    };
    assert!(pod.host_network && pod.hostname.is_none());
}

#[test]
fn each_wrong_field_is_named() {
    for (text, field) in [
        (r#"{}"#.to_owned(), "apiVersion"),
        (r#"{"apiVersion":"v1","kind":"Deployment","spec":{"replicas":3}}"#.to_owned(), "kind"),
        (r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"../x"}}"#.to_owned(), "metadata.name"),
        (r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"}}"#.to_owned(), "spec"),
        (
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{}}"#.to_owned(),
            "spec.containers",
        ),
        (pod(r#""restartPolicy":"Sometimes","#, ""), "spec.restartPolicy"),
        (pod(r#""terminationGracePeriodSeconds":-1,"#, ""), "spec.terminationGracePeriodSeconds"),
        (pod(r#""terminationGracePeriodSeconds":1e3,"#, ""), "spec.terminationGracePeriodSeconds"),
        (pod(r#""hostname":"A B","#, ""), "spec.hostname"),
        (pod(r#""hostUsers":false,"#, ""), "spec.hostUsers"),
        (pod("", r#","image":"../../etc""#), "spec.containers[0].image"),
        (pod("", r#","image":7"#), "spec.containers[0].image"),
        (pod("", r#","command":"sh""#), "spec.containers[0].command"),
        (pod("", r#","command":["sh",1]"#), "spec.containers[0].command[1]"),
        (pod("", r#","args":["a\u0000b"]"#), "spec.containers[0].args[0]"),
        (pod("", r#","env":[{"name":"A=B","value":""}]"#), "spec.containers[0].env[0].name"),
        (pod("", r#","workingDir":"tmp""#), "spec.containers[0].workingDir"),
        (
            pod(r#""securityContext":{"seccompProfile":{"type":"Localhost"}},"#, ""),
            "spec.securityContext.seccompProfile.localhostProfile",
        ),
        (
            pod(r#""securityContext":{"seccompProfile":{"localhostProfile":"x"}},"#, ""),
            "spec.securityContext.seccompProfile.type",
        ),
        (
            pod("", r#","securityContext":{"seccompProfile":{"type":"Default"}}"#),
            "spec.containers[0].securityContext.seccompProfile.type",
        ),
        (pod("", r#"},{"name":"c","image":"b""#), "spec.containers[1].name"),
    ] {
        assert_eq!(flaw(text.as_bytes()).0, field, "{text}");
    }
}

#[test]
fn text_that_is_no_document_is_named_by_its_place() {
    for end in 0..GATEWAY.len() {
        assert!(flaw(&GATEWAY.as_bytes()[..end]).0.starts_with("line "), "{end}");
    }
    assert_eq!(flaw(b"{\"apiVersion\":\"\xff\"}").1, "not UTF-8");
    assert_eq!(flaw("[".repeat(100_000).as_bytes()).1, "nested more than 32 deep");
}

#[test]
fn a_file_that_is_too_large_or_no_file_is_refused_before_it_is_read() {
    let dir = std::env::temp_dir().join(format!("mote-manifest-{}", std::process::id()));
    assert!(std::fs::create_dir_all(&dir).is_ok());
    let path = dir.join("big.json");
    let Ok(file) = std::fs::File::create(&path) else { unreachable!() };
    assert!(file.set_len(100 * 1024 * 1024).is_ok());
    let text = |path: &Path| read(path).map_or_else(|e| e.to_string(), |_| String::new());
    assert_eq!(text(&path), "big.json: the document: larger than 256 KiB");
    assert!(text(&dir).contains("not a regular file"), "{}", text(&dir));
    assert!(text(&dir.join("none.json")).ends_with("none.json): no such file or directory"));
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn limits_are_read_for_pods_and_containers() {
    let text = pod("", r#","resources":{"limits":{"cpu":"250m","memory":"64Mi"}}"#);
    let Ok(read) = parse("p.json", text.as_bytes()) else { unreachable!() };
    let limits = Limits { cpu_milli: Some(250), memory: Some(64 << 20), request_milli: Some(250) };
    assert_eq!((read.containers[0].limits, read.limits), (limits, limits), "a pod has the sum");
    let text = pod(r#""resources":{"limits":{"memory":"1Gi"}},"#, "");
    let Ok(read) = parse("p.json", text.as_bytes()) else { unreachable!() };
    assert_eq!(read.limits, Limits { cpu_milli: None, memory: Some(1 << 30), request_milli: None });
    for (container, field) in [
        (r#","resources":{"limits":{"cpu":"fast"}}"#, "spec.containers[0].resources.limits.cpu"),
        (r#","resources":{"limits":{"gpu":"1"}}"#, "spec.containers[0].resources.limits.gpu"),
        (r#","resources":{"claims":[{"name":"x"}]}"#, "spec.containers[0].resources.claims"),
    ] {
        assert_eq!(flaw(pod("", container).as_bytes()).0, field);
    }
}
