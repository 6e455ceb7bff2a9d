//! Mode `cni`, with Debian's containernetworking-plugins and with plugins that are scripts.

use super::*;

const PLUGINS: &str = "/usr/lib/cni";

fn there() -> bool {
    let found = Path::new(PLUGINS).join("bridge").exists();
    if !found {
        common::skipped("containernetworking-plugins are not installed");
    }
    found
}

fn cni() -> Value {
    json!({"mote/network": "cni"})
}

/// A device whose networks are those in a directory of the test, which is given as well.
fn device(more: Value) -> (Device, std::path::PathBuf) {
    // The name of the directory is known once there is a device.
    let device = Device::new(json!({}));
    let dir = device.pods.test.dir.join("net.d");
    fs::create_dir(&dir).unwrap();
    let own = device.pods.test.dir.join("plugins");
    fs::create_dir(&own).unwrap();
    let mut network = json!({"cniConfig": dir, "cniPlugins": [own, PLUGINS]});
    network.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fs::write(device.pods.test.dir.join("init.json"), json!({"network": network}).to_string()).unwrap();
    (device, dir)
}

/// A list of the usual plugins.
fn usual(device: &Device, version: &str) -> Value {
    let data = device.pods.test.dir.join("ipam");
    json!({"cniVersion": version, "name": "usual", "plugins": [
        {"type": "loopback"},
        {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
         "ipam": {"type": "host-local", "dataDir": data, "routes": [{"dst": "0.0.0.0/0"}],
                  "ranges": [[{"subnet": "10.33.0.0/24"}]]}},
        {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true},
    ]})
}

/// The addresses that host-local has given away.
fn given(device: &Device) -> usize {
    let dir = fs::read_dir(device.pods.test.dir.join("ipam/usual"));
    dir.into_iter()
        .flatten()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("10."))
        .count()
}

#[test]
fn the_usual_plugins_make_a_network_in_each_version() {
    if !there() {
        return;
    }
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let (mut device, dir) = device(json!({}));
        device.outside();
        fs::write(dir.join("10-usual.conflist"), usual(&device, version).to_string()).unwrap();
        device.pod("web", "serve", cni(), json!([{"containerPort": 80, "hostPort": 8080}]));
        device.pod("two", "serve", cni(), json!([]));
        device.start(&["web", "two"]);
        let (web, two) = (device.address("web"), device.address("two"));
        assert_eq!(device.ask("two", &web, 80), format!("I am web, you are {two}"), "{version}");
        assert!(device.out(&ask("192.0.2.1", 8080)).starts_with("I am web"), "{version}");
        assert_eq!(given(&device), 2);
        // A container that is restarted stays in it, which CHECK finds to be well from 0.4.0 on.
        let before = device.inside("web", "ip -o link show eth0");
        device.restart("web");
        assert_eq!(device.inside("web", "ip -o link show eth0"), before);
        assert!(!device.pods.said().contains("anew"), "{}", device.pods.said());
        // Something has happened to it: made anew, and said by CHECK where there is one.
        device.inside("web", "ip link del eth0");
        device.restart("web");
        let said = device.pods.said();
        assert!(said.contains("web: eth0 is gone or down; making it anew"), "{said}");
        assert_eq!(said.contains(": bridge: CHECK: "), version != "0.3.1", "{said}");
        assert!(device.out(&ask("192.0.2.1", 8080)).starts_with("I am web"), "{version}");
        assert_eq!(given(&device), 2);
        device.pods.stop();
        assert_eq!(given(&device), 0, "{version}: addresses are not given back");
        assert_eq!(sh("ip -o link show type veth | grep -v up0 || true"), "");
        sh("ip link del cni0");
        device.stop_all();
    }
}

/// A plugin that is a shell script, with what it was called with in a file.
fn script(device: &Device, name: &str, body: &str) {
    let log = device.pods.test.dir.join("calls");
    let path = device.pods.test.dir.join("plugins").join(name);
    let text = format!(
        "#!/bin/sh\nexport CALLS={}\nin=$(cat)\necho \"$0 $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $in\" >>$CALLS\n{body}\n",
        log.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn calls(device: &Device) -> Vec<String> {
    let text = fs::read_to_string(device.pods.test.dir.join("calls")).unwrap_or_default();
    text.lines().map(|line| line.rsplit_once("/plugins/").map_or(line, |(_, rest)| rest).to_owned()).collect()
}

fn list(dir: &Path, version: &str, kinds: &[&str]) {
    let plugins: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "own": {"x": [1]}})).collect();
    let list = json!({"cniVersion": version, "name": "net", "plugins": plugins});
    fs::write(dir.join("net.conflist"), list.to_string()).unwrap();
}

#[test]
fn plugins_are_called_as_the_specification_says() {
    let (device, dir) = device(json!({}));
    script(
        &device,
        "first",
        r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'; exit 0"#,
    );
    script(
        &device,
        "second",
        r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","ips":[],"seen":2}'; exit 0"#,
    );
    list(&dir, "1.0.0", &["first", "second"]);
    device.pod("web", "sleep", cni(), json!([]));
    device.start(&["web"]);
    device.restart("web");
    device.pods.stop();
    let calls = calls(&device);
    let brief: Vec<String> =
        calls.iter().map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        brief,
        ["first ADD", "second ADD", "first CHECK", "second CHECK", "second DEL", "first DEL"],
        "{calls:#?}"
    );
    let netns = device.pods.run.join("netns/web");
    for (i, call) in calls.iter().enumerate() {
        let words: Vec<&str> = call.splitn(6, ' ').collect();
        assert!(words[2].starts_with("mote-web-"), "{call}");
        assert_eq!((words[3], words[4]), (netns.to_str().unwrap(), "eth0"), "{call}");
        let input: Value = serde_json::from_str(words[5]).unwrap();
        assert_eq!(
            (&input["name"], &input["cniVersion"], &input["own"]),
            (&json!("net"), &json!("1.0.0"), &json!({"x": [1]}))
        );
        let before = match i {
            0 => Value::Null,
            1 => json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}]}),
            _ => json!({"cniVersion": "1.0.0", "ips": [], "seen": 2}),
        };
        assert_eq!(input["prevResult"], before, "{call}");
    }
    device.stop_all();
}

#[test]
fn what_a_killed_supervisor_had_made_is_deleted_by_the_next() {
    let (device, dir) = device(json!({}));
    script(&device, "one", r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0","seen":1}'; exit 0"#);
    list(&dir, "1.0.0", &["one"]);
    device.pod("gone", "sleep", cni(), json!([]));
    device.pod("kept", "sleep", cni(), json!([]));
    device.start(&["gone", "kept"]);
    device.pods.crash();
    fs::remove_file(device.pods.manifests.join("gone.json")).unwrap();
    // By the configuration of then, whatever has become of it.
    fs::remove_file(dir.join("net.conflist")).unwrap();
    let before = calls(&device).len();
    device.start(&["kept"]);
    let end = Instant::now() + Duration::from_secs(10);
    let deleted = loop {
        let all = calls(&device).split_off(before);
        if let Some(call) = all.into_iter().find(|call| call.starts_with("one DEL mote-gone-")) {
            break call;
        }
        assert!(Instant::now() < end, "{:?} {}", calls(&device), device.pods.said());
        std::thread::sleep(Duration::from_millis(20));
    };
    let input: Value = serde_json::from_str(deleted.splitn(6, ' ').nth(5).unwrap()).unwrap();
    assert_eq!((&input["name"], &input["prevResult"]["seen"]), (&json!("net"), &json!(1)), "{deleted}");
    assert!(!calls(&device).iter().any(|call| call.starts_with("one DEL mote-kept-")));
    device.pods.stop();
    assert!(calls(&device).iter().any(|call| call.starts_with("one DEL mote-kept-")));
    device.stop_all();
}

#[test]
fn a_plugin_that_fails_is_told_in_one_line_and_all_are_undone() {
    let (device, dir) = device(json!({"cniSeconds": 1}));
    script(&device, "good", r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0"}'; exit 0"#);
    script(
        &device,
        "bad",
        r#"[ $CNI_COMMAND = ADD ] || exit 0; echo '{"cniVersion":"1.0.0","code":11,"msg":"no more","details":"of it"}'; exit 1"#,
    );
    list(&dir, "1.0.0", &["good", "bad"]);
    device.pod("web", "sleep", cni(), json!([]));
    device.pods.start();
    assert_eq!(device.fails("web"), "network: cni \"net\": bad: ADD: code 11: no more; of it");
    let brief: Vec<String> = calls(&device)
        .iter()
        .take(4)
        .map(|call| call.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(brief, ["good ADD", "bad ADD", "bad DEL", "good DEL"]);
    device.pods.stop();
    assert!(!device.pods.run.join("network").exists());

    for (body, want) in [
        ("echo one >&2; echo two >&2; exit 3", "network: cni \"net\": bad: ADD: exit status 3: two"),
        ("kill -9 $$", "network: cni \"net\": bad: ADD: killed by signal 9"),
        (
            "[ $CNI_COMMAND = ADD ] || exit 0; sleep 100 & wait",
            "network: cni \"net\": bad: ADD: not done after 1 s, killed",
        ),
        ("echo nonsense", "network: cni: bad: its answer: line 1 column "),
    ] {
        script(&device, "bad", body);
        device.pods.start();
        let said = device.fails("web");
        assert!(said.starts_with(want), "{said}");
        device.pods.stop();
    }
    list(&dir, "1.0.0", &["good", "missing"]);
    device.pods.start();
    let said = device.fails("web");
    assert!(said.contains("missing: ADD: no such plugin in "), "{said}");
    device.pods.stop();
    device.stop_all();
}

#[test]
fn the_network_is_the_first_or_the_one_that_is_named() {
    let (device, dir) = device(json!({}));
    let answer = r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0"}'; exit 0"#;
    script(&device, "one", answer);
    script(&device, "two", answer);
    fs::write(dir.join("00-broken.conflist"), "{").unwrap();
    fs::write(dir.join("05-old.conf"), r#"{"cniVersion":"0.2.0","name":"old","type":"one"}"#).unwrap();
    fs::write(dir.join("10-a.conf"), r#"{"cniVersion":"1.0.0","name":"a","type":"one"}"#).unwrap();
    fs::write(dir.join("20-b.conflist"), r#"{"cniVersion":"1.0.0","name":"b","plugins":[{"type":"two"}]}"#)
        .unwrap();
    let named = |name: &str| json!({"mote/network": "cni", "mote/network-cni": name});
    device.pod("first", "sleep", cni(), json!([]));
    device.pod("second", "sleep", named("b"), json!([]));
    device.pod("third", "sleep", named("c"), json!([]));
    device.pod("port", "sleep", cni(), json!([{"containerPort": 1, "hostPort": 1}]));
    device.start(&["first", "second"]);
    assert!(device.fails("third").starts_with("network: cni: no network \"c\" in "));
    assert!(device.fails("port").contains("has the capability portMappings"));
    let said = device.pods.said();
    assert!(said.contains("05-old.conf") || said.contains("is none of 0.3.0, 0.3.1"), "{said}");
    device.pods.stop();
    let all = calls(&device);
    let has = |plugin: &str, pod: &str| {
        all.iter().any(|call| call.starts_with(&format!("{plugin} ADD mote-{pod}-")))
    };
    assert!(has("one", "first") && has("two", "second"), "{all:?}");
    assert!(!has("one", "second") && !has("two", "first"), "{all:?}");
    device.stop_all();
}
