//! `linux.netDevices`: network devices of the host become the container's, with their addresses. The host is a network namespace
//! of the test's own.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Output, Test, spec, without_namespace};
use serde_json::{Value, json};

/// Makes `one`, one end of a pair, with addresses of all kinds.
const DEVICES: &str = "
    ip link add one mtu 1400 address 02:00:00:00:00:01 type veth peer name peer
    ip addr add 192.0.2.1/24 broadcast 192.0.2.255 dev one
    ip addr add 198.51.100.1 peer 198.51.100.2/32 dev one
    ip addr add 203.0.113.1/24 scope link dev one
    ip addr add 192.0.2.77/24 valid_lft 600 preferred_lft 600 dev one
    ip -6 addr add 2001:db8::1/64 nodad dev one
    ip link set peer up; ip link set one up
";

/// Runs a container whose host is a network namespace that a script makes ready; then another script.
fn run(t: &Test, config: &Value, before: &str, after: &str) -> Output {
    let bundle = t.bundle(&format!("b{}", t.id()), config);
    let script = format!("set -e; {before}\nset +e; \"$@\"; code=$?; {after}\nexit $code");
    t.run_bundle(&bundle).under(["unshare", "-n", "bash", "-c", &script, "bash"]).run()
}

fn with(args: &[&str], devices: Value) -> Value {
    let mut config = spec(args);
    config["linux"]["netDevices"] = devices;
    config
}

#[test]
fn a_device_is_moved_with_its_name_state_and_global_addresses() {
    mote_only!("runc 1.1 does not know linux.netDevices and ignores it");
    let t = Test::new();
    let config = with(&["ip", "addr", "show", "dev", "eth0"], json!({"one": {"name": "eth0"}}));
    let out = run(&t, &config, DEVICES, "ip -o link show one 2>&1");
    let text = out.ok();
    for part in [
        "eth0@",
        "UP",
        "mtu 1400",
        "02:00:00:00:00:01",
        "inet 192.0.2.1/24 brd 192.0.2.255",
        "inet 198.51.100.1 peer 198.51.100.2/32",
        "inet6 2001:db8::1/64 scope global",
    ] {
        assert!(text.contains(part), "no {part}: {out}");
    }
    assert!(!text.contains("203.0.113.1"), "an address of the link: {out}");
    assert!(!text.contains("192.0.2.77"), "an address that somebody leases: {out}");
    assert!(text.contains("Device \"one\" does not exist"), "it is still on the host: {out}");
    t.assert_nothing_left();
}

#[test]
fn several_devices_keep_their_names_and_one_that_is_down_comes_up() {
    mote_only!("runc 1.1 does not know linux.netDevices and ignores it");
    let t = Test::new();
    let script = "ip -o link | cut -d: -f2 | cut -d@ -f1 | sort | xargs; ip link show dev va | grep -c ,UP";
    let config = with(&["sh", "-c", script], json!({"va": {}, "vb": {"name": ""}, "vc": {}}));
    let before = "ip link add va type veth peer name vb; ip link add vc type veth peer name vd";
    assert_eq!(run(&t, &config, before, "").ok(), "lo va vb vc\n1\n");
}

#[test]
fn a_device_can_be_moved_into_a_user_namespace_s_network() {
    mote_only!("runc 1.1 does not know linux.netDevices and ignores it");
    let t = Test::new();
    let mut config = with(&["ip", "-o", "addr", "show", "dev", "eth0"], json!({"one": {"name": "eth0"}}));
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for field in ["uidMappings", "gidMappings"] {
        config["linux"][field] = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    }
    let out = run(&t, &config, DEVICES, "");
    assert!(out.ok().contains("192.0.2.1/24"), "{out}");
}

#[test]
fn a_device_in_a_namespace_that_was_joined_stays_there() {
    mote_only!("runc 1.1 does not know linux.netDevices and ignores it");
    let t = Test::new();
    let mut config = with(&["ip", "-o", "addr", "show", "dev", "eth0"], json!({"one": {"name": "eth0"}}));
    without_namespace(&mut config, "network");
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|m| m["type"] != "sysfs");
    let pin = t.dir.join("net").display().to_string();
    let pinned = format!("touch {pin}; unshare --net={pin} true; {DEVICES}");
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "network", "path": pin}));
    let show = format!("nsenter --net={pin} ip -o addr show dev eth0; umount {pin}");
    let bundle = t.bundle("b", &config);
    let script = format!("set -e; {pinned}\n\"$@\"; {show}");
    let own = ["unshare", "-n", "-m", "bash", "-c", &script, "bash"];
    let out = t.run_bundle(&bundle).under(own).run();
    assert_eq!(out.ok().matches("inet 192.0.2.1/24").count(), 2, "{out}");
    // A name that is taken there.
    let taken = format!("{pinned}\nnsenter --net={pin} ip link add eth0 type veth peer name x");
    let script = format!(
        "set -e; {taken}\nset +e; \"$@\"; code=$?; ip -o addr show dev one; umount {pin}; exit $code"
    );
    let own = ["unshare", "-n", "-m", "bash", "-c", &script, "bash"];
    let out = t.run_bundle(&bundle).under(own).run();
    out.fails_saying(&["linux.netDevices[\"one\"]", "eth0", "file exists"]);
    assert!(out.stdout.contains("inet 192.0.2.1/24"), "{out}");
    t.assert_nothing_left();
}

#[test]
fn devices_of_a_create_that_fails_go_back() {
    mote_only!("runc 1.1 does not know linux.netDevices and ignores it");
    let t = Test::new();
    for (args, sibling) in [(["/nosuch"], "one"), (["true"], "nosuch")] {
        let mut config = with(&args, json!({"peer": {"name": "eth1"}, "one": {"name": "eth0"}}));
        if sibling == "nosuch" {
            // Found out by the child, once the devices have been moved.
            config["process"]["cwd"] = json!("/etc/passwd");
        }
        let out = run(&t, &config, DEVICES, "ip -o link; ip -o addr show dev one");
        out.fails();
        for part in ["one@peer", "inet 192.0.2.1/24 brd 192.0.2.255", "inet6 2001:db8::1/64", ",UP"] {
            assert!(out.stdout.contains(part), "no {part}: {out}");
        }
    }
    t.assert_nothing_left();
}

#[test]
fn what_cannot_be_moved_is_named_before_anything_is_made() {
    mote_only!("runc 1.1 does not know linux.netDevices and ignores it");
    let t = Test::new();
    let config = with(&["true"], json!({"one": {}, "nosuch": {}}));
    let out = run(&t, &config, DEVICES, "ip -o addr show dev one");
    out.fails_saying(&["config.json", "linux.netDevices[\"nosuch\"]", "no such device"]);
    assert!(out.stdout.contains("192.0.2.1/24"), "{out}");

    let mut config = with(&["true"], json!({"one": {}}));
    without_namespace(&mut config, "network");
    config["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "sysfs");
    let out = run(&t, &config, DEVICES, "");
    out.fails_saying(&["linux.netDevices[\"one\"]", "network"]);
    let own = json!({"type": "network", "path": "/proc/self/ns/net"});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(own);
    run(&t, &config, DEVICES, "").fails_saying(&["linux.netDevices", "the host's own namespace"]);

    let config = with(&["true"], json!({"lo": {"name": "eth0"}}));
    run(&t, &config, "", "").fails_saying(&["linux.netDevices[\"lo\"]", "invalid argument"]);
    t.assert_nothing_left();
}
