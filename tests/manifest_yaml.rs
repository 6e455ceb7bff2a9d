//! `make image` with manifests in YAML: what the device gets is what Kubernetes' own reading of the YAML makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Command;

/// What `tools/manifest.py` makes of `yaml`: the documents, or what it says.
fn convert(yaml: &str) -> Result<Vec<Value>, String> {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("mote-yaml-{}-{n}.yaml", std::process::id()));
    std::fs::write(&path, yaml).unwrap();
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/manifest.py");
    let out = Command::new("python3").arg(tool).arg(&path).output().expect("python3");
    std::fs::remove_file(&path).unwrap();
    if out.status.success() {
        let text = String::from_utf8(out.stdout).unwrap();
        return Ok(text.lines().map(|line| serde_json::from_str(line).expect(line)).collect());
    }
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "{said}");
    Err(said)
}

/// Whether the tool can work here.
fn has_yaml() -> bool {
    let has =
        Command::new("python3").args(["-c", "import yaml"]).output().is_ok_and(|out| out.status.success());
    if !has {
        let name = std::thread::current().name().unwrap_or("test").to_owned();
        let _ = writeln!(std::io::stderr(), "skipped {name}: python3-yaml is not installed (setup.sh test)");
    }
    has
}

#[test]
fn a_pod_in_yaml_is_the_pod_in_json() {
    if !has_yaml() {
        return;
    }
    let yaml = "# comment\napiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: &l {app: 'yes'}, annotations: *l}\n\
        spec:\n  containers:\n  - name: a\n    image: shell\n    command: [\"sh\", -c]\n    args:\n    - |\n      echo one\n      echo two\n\
        \x20   resources: {limits: {cpu: 0.5, memory: 64Mi}, requests: {cpu: 1e-1}}\n    env: [{name: A, value: \"007\"}]\n  hostNetwork: true\n";
    let want = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "yes"}, "annotations": {"app": "yes"}},
        "spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "shell", "command": ["sh", "-c"],
            "args": ["echo one\necho two\n"], "env": [{"name": "A", "value": "007"}],
            "resources": {"limits": {"cpu": 0.5, "memory": "64Mi"}, "requests": {"cpu": 0.1}}}]}});
    assert_eq!(convert(yaml), Ok(vec![want]));
}

#[test]
fn words_are_what_kubernetes_takes_them_for() {
    if !has_yaml() {
        return;
    }
    // Of sigs.k8s.io/yaml, which kubectl and kubelet read with.
    for (text, want) in [
        ("yes", json!(true)),
        ("off", json!(false)),
        ("True", json!(true)),
        ("~", json!(null)),
        ("", json!(null)),
        ("0644", json!(420)),
        ("0x1F", json!(31)),
        ("1_000", json!(1000)),
        ("-5", json!(-5)),
        ("1.5", json!(1.5)),
        ("1e3", json!(1000.0)),
        ("0.10", json!(0.1)),
        ("'yes'", json!("yes")),
        ("64Mi", json!("64Mi")),
        ("250m", json!("250m")),
        ("2026-11-25", json!("2026-11-25")),
        ("1:30", json!("1:30")),
        ("1.2.3", json!("1.2.3")),
        ("v1", json!("v1")),
        ("a b", json!("a b")),
    ] {
        let found = convert(&format!("kind: Pod\nx: {text}\n")).expect(text);
        assert_eq!(found[0]["x"], want, "{text}");
    }
}

#[test]
fn several_documents_are_several_pods() {
    if !has_yaml() {
        return;
    }
    let found = convert("---\nkind: Pod\nnr: 1\n---\n# nothing\n---\nkind: Pod\nnr: 2\n...\n").unwrap();
    assert_eq!(found, [json!({"kind": "Pod", "nr": 1}), json!({"kind": "Pod", "nr": 2})]);
}

#[test]
fn what_no_device_could_read_fails_the_build() {
    if !has_yaml() {
        return;
    }
    for (yaml, words) in [
        ("", "no document"),
        ("kind: Deployment\n", "document 1: expected kind: Pod, found Deployment"),
        ("kind: Pod\n---\n[1]\n", "document 2: expected kind: Pod"),
        ("kind: Pod\na: 1\na: 2\n", "the key a stands twice"),
        ("kind: Pod\nm: {1: x}\n", "document 1: m: the key 1 is no string"),
        ("kind: Pod\nm: {yes: x}\n", "the key True is no string"),
        ("kind: Pod\nm: [.nan]\n", "document 1: m[0]: no finite number"),
        ("kind: Pod\nm: !!binary aGVsbG8=\n", "document 1: m: binary data"),
        ("kind: Pod\nm: !!python/object:os.system x\n", "could not determine a constructor"),
        ("kind: Pod\n\tm: 1\n", "line 2, column 1"),
        ("kind: Pod\nm: *x\n", "undefined alias"),
    ] {
        let said = convert(yaml).expect_err(yaml);
        assert!(said.contains(words), "{yaml:?}: {said}");
    }
    let big = format!("kind: Pod\nx: {}\n", "y".repeat(300_000));
    assert!(convert(&big).expect_err("big").contains("the device reads 262144"));
}
