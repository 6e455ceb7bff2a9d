//! Manifests as people and tools write them, right and wrong.

use mote::seccomp::Wish;

use super::*;
use crate::supervise::Task;

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

/// Wrong in one field each: spec, container, the field that is named, words of the reason.
const BAD: &[(&str, &str, &str, &str)] = &[
    (r#""hostNetwork":1,"#, "", "spec.hostNetwork", "expected true or false"),
    (r#""hostPID":"yes","#, "", "spec.hostPID", "expected true or false"),
    (
        r#""hostPID":true,"shareProcessNamespace":true,"#,
        "",
        "spec.shareProcessNamespace",
        "in conflict with hostPID",
    ),
    (r#""hostAliases":[{"ip":"10.0.0","hostnames":["a"]}],"#, "", "spec.hostAliases[0].ip", "IPv4 or IPv6"),
    (
        r#""hostAliases":[{"ip":"::1","hostnames":["a","A b"]}],"#,
        "",
        "spec.hostAliases[0].hostnames[1]",
        "DNS name",
    ),
    (r#""dnsPolicy":"Cluster","#, "", "spec.dnsPolicy", "expected one of ClusterFirst, "),
    (r#""dnsPolicy":"None","#, "", "spec.dnsConfig.nameservers", "at least one"),
    (r#""dnsConfig":{"nameservers":["dns.lan"]},"#, "", "spec.dnsConfig.nameservers[0]", "IPv4 or IPv6"),
    (
        r#""dnsConfig":{"nameservers":["1.1.1.1","1.1.1.2","1.1.1.3","1.1.1.4"]},"#,
        "",
        "spec.dnsConfig.nameservers[3]",
        "one too many",
    ),
    (r#""dnsConfig":{"options":[{"name":"a b"}]},"#, "", "spec.dnsConfig.options[0]", "without blanks"),
    (r#""securityContext":{"runAsUser":-1},"#, "", "spec.securityContext.runAsUser", "whole number"),
    (r#""securityContext":{"runAsUser":2147483648},"#, "", "spec.securityContext.runAsUser", "2147483647"),
    (r#""securityContext":{"fsGroup":"7"},"#, "", "spec.securityContext.fsGroup", "whole number"),
    (
        r#""securityContext":{"supplementalGroups":[1,4294967295]},"#,
        "",
        "spec.securityContext.supplementalGroups[1]",
        "2147483647",
    ),
    (
        r#""securityContext":{"supplementalGroupsPolicy":"All"},"#,
        "",
        "spec.securityContext.supplementalGroupsPolicy",
        "Merge, Strict",
    ),
    (
        r#""securityContext":{"fsGroupChangePolicy":"Never"},"#,
        "",
        "spec.securityContext.fsGroupChangePolicy",
        "OnRootMismatch",
    ),
    (
        r#""securityContext":{"sysctls":[{"name":"vm.swappiness","value":"1"}]},"#,
        "",
        "spec.securityContext.sysctls[0].name",
        "no namespace",
    ),
    (
        r#""securityContext":{"sysctls":[{"name":"kernel.hostname","value":"x"}]},"#,
        "",
        "spec.securityContext.sysctls[0].name",
        "spec.hostname",
    ),
    (
        r#""hostNetwork":true,"securityContext":{"sysctls":[{"name":"net.core.somaxconn","value":"1"}]},"#,
        "",
        "spec.securityContext.sysctls[0].name",
        "shares the device's",
    ),
    (
        r#""securityContext":{"sysctls":[{"name":"net.a","value":"1"},{"name":"net/a","value":"2"}]},"#,
        "",
        "spec.securityContext.sysctls[1].name",
        "twice",
    ),
    (r#""securityContext":{"privileged":true},"#, "", "spec.securityContext.privileged", "not a field"),
    (
        r#""securityContext":{"seLinuxOptions":{"level":"s0"}},"#,
        "",
        "spec.securityContext.seLinuxOptions",
        "mote lacks",
    ),
    (
        r#""securityContext":{"appArmorProfile":{"type":"RuntimeDefault"}},"#,
        "",
        "spec.securityContext.appArmorProfile.type",
        "Unconfined, Localhost",
    ),
    (r#""volumes":[{"name":"A"}],"#, "", "spec.volumes[0].name", "a-z"),
    (r#""volumes":[{"name":"a"},{"name":"a"}],"#, "", "spec.volumes[1].name", "another volume"),
    (r#""volumes":[{"name":"a","emptyDir":{},"hostPath":{"path":"/"}}],"#, "", "spec.volumes[0]", "one kind"),
    (
        r#""volumes":[{"name":"a","emptyDir":{"medium":"Disk"}}],"#,
        "",
        "spec.volumes[0].emptyDir.medium",
        "Memory",
    ),
    (
        r#""volumes":[{"name":"a","emptyDir":{"sizeLimit":"much"}}],"#,
        "",
        "spec.volumes[0].emptyDir.sizeLimit",
        "quantity",
    ),
    (r#""volumes":[{"name":"a","hostPath":{"path":"x"}}],"#, "", "spec.volumes[0].hostPath.path", "absolute"),
    (
        r#""volumes":[{"name":"a","hostPath":{"path":"/x/../y"}}],"#,
        "",
        "spec.volumes[0].hostPath.path",
        "without ..",
    ),
    (
        r#""volumes":[{"name":"a","hostPath":{"path":"/x","type":"Fifo"}}],"#,
        "",
        "spec.volumes[0].hostPath.type",
        "DirectoryOrCreate, ",
    ),
    (r#""volumes":[{"name":"a","configMap":{"name":"x"}}],"#, "", "spec.volumes[0].configMap", "mote lacks"),
    (
        r#""volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"x"}}],"#,
        "",
        "spec.volumes[0].persistentVolumeClaim",
        "mote lacks",
    ),
    (
        "",
        r#","volumeMounts":[{"name":"a","mountPath":"/a"}]"#,
        "spec.containers[0].volumeMounts[0].name",
        "no volume",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"a"}]"#,
        "spec.containers[0].volumeMounts[0].mountPath",
        "absolute",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/"}]"#,
        "spec.containers[0].volumeMounts[0].mountPath",
        "root",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a"},{"name":"a","mountPath":"/a/"}]"#,
        "spec.containers[0].volumeMounts[1].mountPath",
        "another mount",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","subPath":"../b"}]"#,
        "spec.containers[0].volumeMounts[0].subPath",
        "without ..",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","subPath":"/b"}]"#,
        "spec.containers[0].volumeMounts[0].subPath",
        "relative",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","subPath":"b","subPathExpr":"c"}]"#,
        "spec.containers[0].volumeMounts[0].subPathExpr",
        "without subPath",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","subPathExpr":"$(NONE)"}]"#,
        "spec.containers[0].volumeMounts[0].subPathExpr",
        "variables",
    ),
    (
        VOLUME,
        r#","env":[{"name":"X","value":"../.."}],"volumeMounts":[{"name":"a","mountPath":"/a","subPathExpr":"$(X)"}]"#,
        "spec.containers[0].volumeMounts[0].subPathExpr",
        "without ..",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","mountPropagation":"Both"}]"#,
        "spec.containers[0].volumeMounts[0].mountPropagation",
        "Bidirectional",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","mountPropagation":"Bidirectional"}]"#,
        "spec.containers[0].volumeMounts[0].mountPropagation",
        "privileged",
    ),
    (
        VOLUME,
        r#","volumeMounts":[{"name":"a","mountPath":"/a","recursiveReadOnly":"Enabled"}]"#,
        "spec.containers[0].volumeMounts[0].recursiveReadOnly",
        "readOnly",
    ),
    (
        "",
        r#","securityContext":{"capabilities":{"add":["NET_ADMIN","FLY"]}}"#,
        "spec.containers[0].securityContext.capabilities.add[1]",
        "not a capability",
    ),
    (
        "",
        r#","securityContext":{"allowPrivilegeEscalation":false,"privileged":true}"#,
        "spec.containers[0].securityContext.allowPrivilegeEscalation",
        "conflict",
    ),
    (
        "",
        r#","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"add":["SYS_ADMIN"]}}"#,
        "spec.containers[0].securityContext.allowPrivilegeEscalation",
        "CAP_SYS_ADMIN",
    ),
    (
        "",
        r#","securityContext":{"procMount":"All"}"#,
        "spec.containers[0].securityContext.procMount",
        "Default, Unmasked",
    ),
    ("", r#","securityContext":{"fsGroup":1}"#, "spec.containers[0].securityContext.fsGroup", "not a field"),
    (
        "",
        r#","securityContext":{"runAsNonRoot":true,"runAsUser":0}"#,
        "spec.containers[0].securityContext.runAsUser",
        "root",
    ),
    (
        "",
        r#","securityContext":{"seccompProfile":{"type":"Localhost","localhostProfile":"../x"}}"#,
        "spec.containers[0].securityContext.seccompProfile.localhostProfile",
        "below",
    ),
    ("", r#","terminationMessagePath":"log""#, "spec.containers[0].terminationMessagePath", "absolute"),
    (
        "",
        r#","terminationMessagePolicy":"Log""#,
        "spec.containers[0].terminationMessagePolicy",
        "File, FallbackToLogsOnError",
    ),
    ("", r#","env":[{"name":"A","value":7}]"#, "spec.containers[0].env[0].value", "expected a string"),
    (
        "",
        r#","env":[{"name":"A","value":"x","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]"#,
        "spec.containers[0].env[0].valueFrom",
        "without value",
    ),
    (
        "",
        r#","env":[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]"#,
        "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath",
        "metadata.name",
    ),
    (
        "",
        r#","env":[{"name":"A","valueFrom":{"secretKeyRef":{"key":"x"}}}]"#,
        "spec.containers[0].env[0].valueFrom.secretKeyRef",
        "mote lacks",
    ),
    (
        "",
        r#","env":[{"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.gpu"}}}]"#,
        "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource",
        "limits.cpu",
    ),
    (
        "",
        r#","env":[{"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}}]"#,
        "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource",
        "has none",
    ),
    ("", r#","envFrom":[{"configMapRef":{"name":"x"}}]"#, "spec.containers[0].envFrom", "mote lacks"),
    (
        "",
        r#","resources":{"limits":{"cpu":"1"},"requests":{"cpu":2}}"#,
        "spec.containers[0].resources.requests.cpu",
        "more than the limit",
    ),
    (
        "",
        r#","resources":{"requests":{"memory":"-1Mi"}}"#,
        "spec.containers[0].resources.requests.memory",
        "quantity",
    ),
    (
        "",
        r#","resources":{"limits":{"hugepages-2Mi":"4Mi"}}"#,
        "spec.containers[0].resources.limits.hugepages-2Mi",
        "not a field",
    ),
    ("", r#","resources":{"limits":{"cpu":[1]}}"#, "spec.containers[0].resources.limits.cpu", "quantity"),
];

const VOLUME: &str = r#""volumes":[{"name":"a"}],"#;

#[test]
fn each_field_that_is_wrong_is_named_with_the_reason() {
    for (spec, container, field, words) in BAD {
        let text = pod(spec, container);
        let (found, why) = flaw(text.as_bytes());
        assert_eq!(&*found, *field, "{text}: {why}");
        assert!(why.contains(words), "{text}: {why}");
    }
}

#[test]
fn values_come_from_fields_of_the_manifest() {
    let env = r#","resources":{"limits":{"cpu":"1500m","memory":"64Mi"},"requests":{"memory":"1Ki"}},"env":[
        {"name":"A","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
        {"name":"B","valueFrom":{"resourceFieldRef":{"resource":"requests.cpu","divisor":"1m","containerName":"c"}}},
        {"name":"C","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
        {"name":"D","valueFrom":{"resourceFieldRef":{"resource":"requests.memory","divisor":0}}},
        {"name":"E","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}},
        {"name":"F","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['x']"}}},
        {"name":"A","value":"$(A)$(C)"}]"#;
    let Ok(pod) = parse("p.json", pod("", env).as_bytes()) else { unreachable!() };
    assert_eq!(pod.containers[0].env, ["A=264", "B=1500", "C=64", "D=1024", "E=default", "F="]);
}

#[test]
fn commands_of_probes_are_expanded_as_kubelet_does_it_and_those_of_hooks_are_not() {
    let command = r#"{"exec":{"command":["t","$(A)$(NONE)","$(B)","[$(POD)]","$$(A)","$$"]}}"#;
    let text = format!(
        r#","readinessProbe":{command},"livenessProbe":{command},"lifecycle":{{"postStart":{command},"preStop":{command}}},
        "env":[{{"name":"A","value":"x"}},{{"name":"A","value":"a"}},{{"name":"B","value":"$(A)b"}},
            {{"name":"POD","valueFrom":{{"fieldRef":{{"fieldPath":"metadata.name"}}}}}}]"#
    );
    let Ok(pod) = parse("p.json", pod("", &text).as_bytes()) else { unreachable!() };
    for (task, want) in [
        (Task::Readiness, ["t", "a$(NONE)", "$(A)b", "[]", "$(A)", "$"]),
        (Task::Liveness, ["t", "a$(NONE)", "$(A)b", "[]", "$(A)", "$"]),
        (Task::PostStart, ["t", "$(A)$(NONE)", "$(B)", "[$(POD)]", "$$(A)", "$$"]),
        (Task::PreStop, ["t", "$(A)$(NONE)", "$(B)", "[$(POD)]", "$$(A)", "$$"]),
    ] {
        let want = Handler::Exec(want.map(str::to_owned).into());
        assert_eq!(pod.containers[0].life.handler(task), Some(&want), "{task:?}");
    }
}

#[test]
fn a_sub_path_may_be_made_of_variables() {
    let mounts = r#","env":[{"name":"N","value":"log"}],"volumeMounts":[{"name":"a","mountPath":"/var//log/./","subPathExpr":"$(N)/x"}]"#;
    let Ok(pod) = parse("p.json", pod(VOLUME, mounts).as_bytes()) else { unreachable!() };
    let mount = &pod.containers[0].mounts[0];
    assert_eq!((mount.path.as_str(), mount.sub_path.as_deref()), ("/var/log", Some("log/x")));
}
