//! Mode `macvlan`.

use super::*;

#[test]
fn a_macvlan_is_on_the_network_of_its_parent() {
    let mut device = Device::new(json!({}));
    device.outside();
    let mut annotations = json!({"mote/network": "macvlan", "mote/network-parent": "up0",
        "mote/network-address": "192.0.2.50/24", "mote/network-gateway": "192.0.2.9"});
    device.pod("own", "serve", annotations.clone(), json!([]));
    annotations
        .as_object_mut()
        .unwrap()
        .retain(|key, _| !key.ends_with("address") && !key.ends_with("gateway"));
    annotations["mote/network-mode"] = json!("private");
    device.pod("bare", "sleep", annotations.clone(), json!([]));
    annotations["mote/network-parent"] = json!("nothing0");
    device.pod("lost", "sleep", annotations.clone(), json!([]));
    device.start(&["own", "bare"]);
    assert_eq!(device.out(&ask("192.0.2.50", 80)), "I am own, you are 192.0.2.9");
    assert!(device.inside("own", "ip route").contains("default via 192.0.2.9"));
    // Up, and without an address: whoever is in there asks for one.
    let bare = device.inside("bare", "ip -d -o link show eth0");
    assert!(bare.contains("macvlan mode private") && bare.contains("LOWER_UP"), "{bare}");
    assert!(!device.inside("bare", "ip -4 -o addr").contains("eth0"));
    let said = device.fails("lost");
    assert!(said.contains("mote/network-parent") && said.contains("\"nothing0\""), "{said}");
    // Its hardware address is its own for ever: a DHCP server knows it again.
    let hardware =
        |device: &Device| device.inside("bare", "cat /sys/class/net/eth0/address || ip -o link show eth0");
    let link = |device: &Device| {
        let all = device.inside("bare", "ip -o link show eth0");
        all.split("link/ether ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    };
    let _ = hardware;
    let before = link(&device);
    device.pods.stop();
    device.start(&["own", "bare"]);
    assert_eq!(link(&device), before);
    device.stop();
}

#[test]
fn an_address_of_a_macvlan_is_one_pods() {
    let mut device = Device::new(json!({}));
    device.outside();
    let annotations = json!({"mote/network": "macvlan", "mote/network-parent": "up0", "mote/network-address": "192.0.2.50/24"});
    device.pod("first", "sleep", annotations.clone(), json!([]));
    device.start(&["first"]);
    device.pods.crash();
    device.pod("second", "sleep", annotations, json!([]));
    device.start(&["first"]);
    let said = device.fails("second");
    assert!(said.contains("192.0.2.50 is taken by pod first"), "{said}");
    device.stop();
}
