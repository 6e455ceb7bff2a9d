//! Mode `bridge`.

use super::*;

#[test]
fn two_pods_on_the_bridge_reach_each_other_and_the_outside() {
    let mut device = Device::new(json!({}));
    device.outside();
    device.pod("one", "serve", bridge(), json!([]));
    device.pod("two", "serve", bridge(), json!([]));
    device.pod("alone", "sleep", json!({}), json!([]));
    device.start(&["one", "two", "alone"]);
    let (one, two) = (device.address("one"), device.address("two"));
    assert_ne!(one, two);
    assert_eq!(device.ask("one", &two, 80), format!("I am two, you are {one}"));
    assert_eq!(device.ask("two", &one, 80), format!("I am one, you are {two}"));
    device.inside("one", &format!("busybox ping -c1 -W2 {two}"));
    // The device reaches them, and outside they seem to be the device.
    assert_eq!(sh(&ask(&one, 80)), "I am one, you are 10.190.0.1");
    let server = Server::new(&device, 7);
    let said = device.ask("one", "192.0.2.9", 7);
    assert!(said.ends_with(", you are 192.0.2.1"), "{said}");
    drop(server);
    // A name of its own, and the device's way to find others.
    let of = |pod: &str, file: &str| device.pods.oci(["exec", &format!("{pod}_a"), "cat", file]).run();
    assert!(of("one", "/etc/hosts").ok().contains(&format!("{one}\tone\n")));
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if !resolver.is_empty() {
        assert_eq!(of("one", "/etc/resolv.conf").ok(), resolver);
    }
    assert_ne!(of("alone", "/etc/hosts").code(), 0, "files nobody has asked for");
    // A pod without the annotation has lo alone.
    assert_eq!(device.inside("alone", "ip -o link | wc -l"), "1");
    device.stop();
}

#[test]
fn what_is_not_masqueraded_keeps_its_address() {
    let mut device =
        Device::new(json!({"masquerade": false, "subnet": "10.7.0.0/16", "bridge": "pods", "mtu": 1400}));
    device.outside();
    device.out("ip route add 10.7.0.0/16 via 192.0.2.1");
    device.pod("one", "serve", bridge(), json!([]));
    device.start(&["one"]);
    let server = Server::new(&device, 7);
    assert!(device.ask("one", "192.0.2.9", 7).ends_with(", you are 10.7.0.2"));
    assert!(device.out(&ask("10.7.0.2", 80)).ends_with("I am one, you are 192.0.2.9"));
    assert!(sh("ip -o link show pods").contains("mtu 1400"));
    assert!(device.inside("one", "ip -o link show eth0").contains("mtu 1400"));
    drop(server);
    device.stop();
}

#[test]
fn an_address_is_the_pods_for_as_long_as_it_is_there() {
    let device = Device::new(json!({"range": "10.190.0.10-10.190.0.10"}));
    let with = |address: &str| json!({"mote/network": "bridge", "mote/network-address": address});
    device.pod("one", "sleep", bridge(), json!([]));
    device.start(&["one"]);
    assert_eq!(device.address("one"), "10.190.0.10");
    let link = |device: &Device| device.inside("one", "ip -o link show eth0");
    let before = link(&device);
    device.restart("one");
    assert_eq!(link(&device), before, "made anew for a container that was restarted");
    device.pods.stop();

    // Wishes, those that cannot be, and no address left.
    device.pod("a-wish", "sleep", with("10.190.0.11"), json!([]));
    device.pod("b-outside", "sleep", with("10.191.0.3"), json!([]));
    device.pod("c-gateway", "sleep", with("10.190.0.1"), json!([]));
    device.start(&["one", "a-wish"]);
    assert_eq!(device.address("a-wish"), "10.190.0.11");
    let said = device.fails("b-outside");
    assert!(said.contains("mote/network-address") && said.contains("10.190.0.0/24"), "{said}");
    assert!(device.fails("c-gateway").contains("10.190.0.1 is taken by the gateway"));
    device.pods.stop();
    // One of two has what both want, be it a certain address or the last that is left.
    fs::remove_file(device.pods.manifests.join("c-gateway.json")).unwrap();
    device.pod("b-outside", "sleep", with("10.190.0.11"), json!([]));
    device.pod("d-late", "sleep", bridge(), json!([]));
    device.pods.start();
    let (winner, said) = device.one_of(["a-wish", "b-outside"]);
    assert!(said.contains(&format!("10.190.0.11 is taken by pod {winner}")), "{said}");
    let (_, said) = device.one_of(["one", "d-late"]);
    assert!(said.contains("no address is left of 10.190.0.10 to 10.190.0.10"), "{said}");
    device.stop();
}

#[test]
fn a_pod_that_is_removed_gives_back_what_it_had() {
    let device = Device::new(json!({"range": "10.190.0.10-10.190.0.11"}));
    device.pod("old", "serve", bridge(), json!([{"containerPort": 80, "hostPort": 8080}]));
    device.pod("other", "sleep", bridge(), json!([]));
    device.start(&["old", "other"]);
    let address = device.address("old");
    fs::remove_file(device.pods.manifests.join("old.json")).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while ["network", "netns", "pods"].iter().any(|dir| device.pods.run.join(dir).join("old").exists()) {
        assert!(Instant::now() < end, "something of it is left: {}", device.pods.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(sh("ip -o link show type veth | wc -l"), "1");
    let refused = "busybox nc -w 1 127.0.0.1 8080 </dev/null >/dev/null 2>&1 || echo refused";
    assert_eq!(sh(refused), "refused");
    // The one place that is left is a successor's, port and address.
    device.pod("new", "serve", bridge(), json!([{"containerPort": 80, "hostPort": 8080}]));
    device.pods.wait("new/a", "running");
    assert_eq!(device.address("new"), address);
    assert!(sh(&ask("127.0.0.1", 8080)).starts_with("I am new"));
    device.stop();
}

#[test]
fn a_supervisor_that_was_killed_leaves_all_to_the_next() {
    let device = Device::new(json!({}));
    device.pod("kept", "serve", bridge(), json!([{"containerPort": 80, "hostPort": 8080}]));
    device.pod("gone", "serve", bridge(), json!([{"containerPort": 80, "hostPort": 8081}]));
    device.start(&["kept", "gone"]);
    let before = device.inside("kept", "ip -o -4 addr show eth0");
    let gone = device.address("gone");
    device.pods.crash();
    device.pods.oci(["delete", "--force", "gone_a"]).run().ok();
    fs::remove_file(device.pods.manifests.join("gone.json")).unwrap();
    device.start(&["kept"]);
    assert_eq!(device.inside("kept", "ip -o -4 addr show eth0"), before, "adopted");
    assert!(sh(&ask("127.0.0.1", 8080)).starts_with("I am kept"));
    // What the other had is given back: its interface, its address, its port.
    assert!(!device.pods.run.join("network/gone").exists() && !device.pods.run.join("netns/gone").exists());
    assert_eq!(sh("ip -o link show type veth | wc -l"), "1");
    assert!(!sh(&format!("busybox nc -w 1 127.0.0.1 8081 </dev/null >/dev/null 2>&1; echo $?; busybox ping -c1 -W1 {gone} || true")).starts_with('0'));
    device.pods.crash();

    // As after a reboot, where the records had stayed: no namespace is left.
    let pin = device.pods.run.join("netns/kept");
    sh(&format!("umount -l {}", pin.display()));
    device.start(&["kept"]);
    assert!(sh(&ask("127.0.0.1", 8080)).starts_with("I am kept"));
    assert_eq!(sh("ip -o link show type veth | wc -l"), "1");
    assert!(!device.pods.run.join("network/kept.old").exists());
    device.stop();
}

#[test]
fn starters_that_are_killed_leave_a_network_that_works() {
    let device = Device::new(json!({}));
    let names: Vec<String> = (0..6).map(|i| format!("p{i}")).collect();
    for name in &names {
        device.pod(name, "serve", bridge(), json!([]));
    }
    device.pods.spawn();
    // Whatever they are at: for a second every starter that shows is killed.
    let supervisor = device.pods.pid();
    let end = Instant::now() + Duration::from_secs(1);
    let mut killed = 0;
    let mut wait_us = 0;
    while Instant::now() < end {
        let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
        for pid in children.unwrap_or_default().split_whitespace() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "mote-start" {
                wait_us = (wait_us + 700) % 12_000;
                std::thread::sleep(Duration::from_micros(wait_us));
                let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
                if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok() {
                    killed += 1;
                }
            }
        }
    }
    assert!(killed > 0, "no starter was met");
    for name in &names {
        device.pods.wait(&format!("{name}/a"), "running");
    }
    let mut addresses: Vec<String> = names.iter().map(|name| device.address(name)).collect();
    for (name, address) in names.iter().zip(&addresses) {
        assert!(sh(&ask(address, 80)).starts_with(&format!("I am {name}")));
    }
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), names.len());
    assert_eq!(sh("ip -o link show type veth | wc -l"), names.len().to_string());
    device.stop();
}

#[test]
fn a_bridge_that_was_there_stays_and_gets_no_address() {
    let mut device = Device::new(
        json!({"bridge": "lan", "subnet": "192.0.2.0/24", "gateway": "192.0.2.9", "range": "192.0.2.100-192.0.2.120"}),
    );
    device.outside();
    sh(
        "ip link add lan type bridge; ip link set lan up; ip addr del 192.0.2.1/24 dev up0; ip link set up0 master lan",
    );
    device.pod("one", "serve", bridge(), json!([]));
    device.start(&["one"]);
    assert_eq!(device.address("one"), "192.0.2.100");
    // Straight on the outside's network.
    assert!(device.out(&ask("192.0.2.100", 80)).ends_with("I am one, you are 192.0.2.9"));
    assert!(!sh("ip -4 -o addr show lan").contains("inet"));
    device.pods.stop();
    assert!(sh("ip -o link show lan").contains("lan"));
    sh("ip link del lan");
    device.stop_all();
}

#[test]
fn a_record_that_cannot_be_read_gives_nobodys_address_away() {
    let device = Device::new(json!({"range": "10.190.0.10-10.190.0.12"}));
    device.pod("one", "serve", bridge(), json!([]));
    device.start(&["one"]);
    let record = device.pods.run.join("network/one");
    let whole = fs::read(&record).unwrap();
    for (i, wrong) in [&b""[..], b"{", &whole[..whole.len() - 1], &[0xff; 4096]].into_iter().enumerate() {
        fs::write(&record, wrong).unwrap();
        // Another pod comes, and goes.
        let other = format!("other{i}");
        device.pod(&other, "serve", bridge(), json!([]));
        device.pods.wait(&format!("{other}/a"), "running");
        assert_ne!(device.address(&other), device.address("one"));
        assert!(sh(&ask(&device.address("one"), 80)).starts_with("I am one"));
        assert!(sh(&ask(&device.address(&other), 80)).starts_with(&format!("I am {other}")));
        fs::remove_file(device.pods.manifests.join(format!("{other}.json"))).unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while device.pods.run.join("network").join(&other).exists() {
            assert!(Instant::now() < end, "{}", device.pods.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    // Its own next start makes it anew.
    device.restart("one");
    assert!(sh(&ask(&device.address("one"), 80)).starts_with("I am one"));
    assert_eq!(sh("ip -o link show type veth | wc -l"), "1");
    fs::write(&record, "{").unwrap();
    device.stop();
}

#[test]
fn what_is_no_bridge_is_left_alone() {
    let device = Device::new(json!({"bridge": "eth7"}));
    sh("ip link add eth7 type veth peer name eth8; ip addr add 192.0.2.77/24 dev eth7; ip link set eth7 up");
    let before = sh("ip -o addr show eth7");
    device.pod("one", "sleep", bridge(), json!([]));
    device.pod("two", "sleep", json!({}), json!([]));
    device.start(&["two"]);
    assert_eq!(device.fails("one"), "network: eth7 is no bridge");
    device.pods.stop();
    assert_eq!(sh("ip -o addr show eth7"), before);
    sh("ip link del eth7");
    device.stop_all();
}

#[test]
fn settings_that_are_wrong_are_named() {
    let device = Device::new(json!({"subnet": "10.0.0.0"}));
    device.pod("one", "sleep", bridge(), json!([]));
    device.pod("two", "sleep", json!({}), json!([]));
    device.start(&["two"]);
    let said = device.fails("one");
    assert!(said.contains("init.json: network.subnet: expected a network"), "{said}");
    device.stop();
}
