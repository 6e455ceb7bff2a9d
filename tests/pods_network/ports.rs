//! `ports[].hostPort`.

use super::*;

fn published(ports: Value) -> impl Fn(&Device, &str) {
    move |device, name| device.pod(name, "serve", bridge(), ports.clone())
}

#[test]
fn a_host_port_leads_to_the_pod_from_everywhere() {
    let mut device = Device::new(json!({}));
    device.outside();
    published(json!([{"containerPort": 80, "hostPort": 8080, "name": "web"}]))(&device, "web");
    device.pod("other", "serve", bridge(), json!([]));
    device.start(&["web", "other"]);
    let (web, other) = (device.address("web"), device.address("other"));
    // From outside with the asker's own address, from the device by each of its addresses.
    assert_eq!(device.out(&ask("192.0.2.1", 8080)), "I am web, you are 192.0.2.9");
    for address in ["127.0.0.1", "192.0.2.1", "10.190.0.1"] {
        assert!(sh(&ask(address, 8080)).starts_with("I am web"), "{address}");
    }
    // From another pod, and from itself.
    assert!(device.ask("other", "10.190.0.1", 8080).starts_with("I am web"));
    assert!(device.ask("web", "192.0.2.1", 8080).starts_with("I am web"));
    // Nothing else is led astray: the same port elsewhere, and the pod's own.
    let server = Server::new(&device, 8080);
    let said = device.ask("other", "192.0.2.9", 8080);
    assert!(!said.contains("I am web") && said.ends_with("you are 192.0.2.1"), "{said}");
    assert_eq!(device.ask("other", &web, 80), format!("I am web, you are {other}"));
    drop(server);
    // What the device has on 127.0.0.1 is its own, though the bridge lets that address through.
    let at = device.pods.test.dir.join("www");
    let command = format!("exec busybox httpd -f -p 127.0.0.1:9 -h {}", at.display());
    let mut own = Command::new("sh").args(["-c", &command]).spawn().unwrap();
    assert!(sh(&ask("127.0.0.1", 9)).starts_with("I am"));
    device.inside(
        "other",
        "ip route add 127.0.0.0/8 via 10.190.0.1 table 9; ip rule add to 127.0.0.0/8 table 9 pref 0",
    );
    device.inside("other", "ip rule add pref 1 table local; ip rule del pref 0 table local; echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet");
    let command = "busybox nc -w 1 127.0.0.1 9 </dev/null >/dev/null 2>&1 || echo no answer";
    assert_eq!(device.inside("other", command), "no answer");
    own.kill().unwrap();
    own.wait().unwrap();
    // The port is the pod's for as long as that is there.
    device.restart("web");
    assert!(sh(&ask("127.0.0.1", 8080)).starts_with("I am web"));
    device.pods.stop();
    assert_eq!(
        device.out("busybox nc -w 1 192.0.2.1 8080 </dev/null >/dev/null 2>&1 || echo refused"),
        "refused"
    );
    device.stop_all();
}

#[test]
fn a_host_ip_is_the_only_one_that_leads_there() {
    let mut device = Device::new(json!({}));
    device.outside();
    published(json!([{"containerPort": 80, "hostPort": 8080, "hostIP": "127.0.0.1"}]))(&device, "inner");
    published(json!([{"containerPort": 80, "hostPort": 8080, "hostIP": "192.0.2.1"}]))(&device, "outer");
    device.start(&["inner", "outer"]);
    assert!(sh(&ask("127.0.0.1", 8080)).starts_with("I am inner"));
    assert!(device.out(&ask("192.0.2.1", 8080)).starts_with("I am outer"));
    device.stop();
}

#[test]
fn a_port_that_another_pod_has_is_refused_by_name() {
    let device = Device::new(json!({}));
    let port = json!([{"containerPort": 80, "hostPort": 8080}]);
    published(port.clone())(&device, "first");
    device.start(&["first"]);
    device.pods.stop();
    published(port)(&device, "second");
    published(json!([{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]))(&device, "udp");
    device.start(&["udp"]);
    let (winner, said) = device.one_of(["first", "second"]);
    let loser = if winner == "first" { "second" } else { "first" };
    let want = "spec.containers[0].ports[0].hostPort: tcp 8080 is taken by pod";
    assert_eq!(said, format!("{loser}: {want} {winner}"));
    device.stop();
}

#[test]
fn ports_and_annotations_that_make_no_sense_fail_the_pod() {
    let device = Device::new(json!({}));
    let port = |port: Value| json!([port]);
    let network = |extra: Value| {
        let mut all = bridge();
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all
    };
    let annotation = |key: &str| format!("metadata.annotations[\"{key}\"]: ");
    let of_port = |field: &str| format!("spec.containers[0].ports[0].{field}: ");
    let cases = [
        (json!({"mote/network": "wifi"}), json!([]), annotation("mote/network")),
        (network(json!({"mote/network-address": "x"})), json!([]), annotation("mote/network-address")),
        (network(json!({"mote/network-parent": "up0"})), json!([]), annotation("mote/network-parent")),
        (network(json!({"mote/network-adress": "10.190.0.3"})), json!([]), annotation("mote/network-adress")),
        (json!({"mote/network": "macvlan"}), json!([]), annotation("mote/network-parent")),
        (json!({"mote/network": "cni", "mote/network-cni": ""}), json!([]), annotation("mote/network-cni")),
        (json!({}), port(json!({"containerPort": 80, "hostPort": 80})), of_port("hostPort")),
        (bridge(), port(json!({"containerPort": 80, "hostPort": 65536})), of_port("hostPort")),
        (bridge(), port(json!({"containerPort": 0, "hostPort": 80})), of_port("containerPort")),
        (bridge(), port(json!({"containerPort": 80, "protocol": "tcp"})), of_port("protocol")),
        (bridge(), port(json!({"containerPort": 80, "hostPort": 80, "hostIP": "::1"})), of_port("hostIP")),
        (
            json!({"mote/network": "host"}),
            port(json!({"containerPort": 80, "hostPort": 81})),
            of_port("hostPort"),
        ),
        (
            bridge(),
            json!([{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80, "hostIP": "127.0.0.1"}]),
            "spec.containers[0].ports[1].hostPort: ".to_owned(),
        ),
    ];
    for (i, (annotations, ports, _)) in cases.iter().enumerate() {
        device.pod(&format!("pod-{i}"), "sleep", annotations.clone(), ports.clone());
    }
    device.pods.start();
    for (i, (.., field)) in cases.iter().enumerate() {
        let row = device.pods.pod_row(&format!("pod-{i}"));
        let reason = row["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with(&format!("pod-{i}.json: {field}")), "{field}: {row}");
    }
    device.stop();
}
