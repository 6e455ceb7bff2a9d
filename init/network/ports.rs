//! The device's own ports that lead to pods, and the pods' way out: the nftables table `mote`, made anew from all records
//! whenever one changes, in one step.

use std::net::Ipv4Addr;

use mote::error::{Error, Result};
use mote::nft::{Action, Batch, GUARD, Match, OUTPUT, POSTROUTING, PREROUTING};

use super::record::{Record, Records};
use super::refused;
use super::settings::Settings;
use crate::manifest::{Mode, Port};

const TABLE: &str = "mote";

/// Refuses a port that another pod has.
pub fn check(pod: &str, ports: &[Port], others: &[(String, Record)]) -> Result<()> {
    for port in ports {
        let has = |(_, record): &&(String, Record)| record.ports.iter().any(|other| other.meets(port));
        if let Some((owner, _)) = others.iter().find(has) {
            let why = format!("{} {} is taken by pod {owner}", port.protocol_word(), port.host);
            return Err(Error::config(pod, port.field(), why));
        }
    }
    Ok(())
}

/// Makes the table what the records say. The lock on them is held.
pub fn update(records: &Records, settings: &Settings) -> Result<()> {
    let pods = records.others("");
    let pods: Vec<&Record> =
        pods.iter().map(|(_, record)| record).filter(|record| record.mode == Mode::Bridge).collect();
    let ports = pods.iter().any(|record| !record.ports.is_empty());
    if pods.is_empty() || !(ports || settings.masquerade && settings.own_gateway) {
        clear(records);
        return Ok(());
    }
    records.mark("table")?;
    let mut batch = Batch::instead(TABLE);
    let bridge = settings.bridge.as_str();
    let (base, prefix) = settings.subnet;
    batch.chain(POSTROUTING);
    if ports {
        batch.chain(GUARD);
        batch.chain(PREROUTING);
        batch.chain(OUTPUT);
        let loopback = Ipv4Addr::new(127, 0, 0, 0);
        // route_localnet lets 127.0.0.1 through the bridge, which is meant for answers only.
        batch.rule(GUARD, &[Match::InputIs(bridge), Match::To(loopback, 8)], Action::Drop);
        for record in &pods {
            for port in &record.ports {
                let to = if port.ip.is_unspecified() { Match::ToLocal } else { Match::To(port.ip, 32) };
                let matches = [to, Match::Port(port.protocol, port.host)];
                for chain in [PREROUTING, OUTPUT] {
                    batch.rule(chain, &matches, Action::Redirect(record.address, port.container));
                }
            }
        }
        // The device itself by 127.0.0.1, and pods by the device's address: the answer has to come back the same way.
        batch.rule(POSTROUTING, &[Match::From(loopback, 8), Match::OutputIs(bridge)], Action::Masquerade);
        let back = [Match::From(base, prefix), Match::OutputIs(bridge), Match::Redirected];
        batch.rule(POSTROUTING, &back, Action::Masquerade);
    }
    if settings.masquerade && settings.own_gateway {
        batch.rule(POSTROUTING, &[Match::From(base, prefix), Match::OutputIsNot(bridge)], Action::Masquerade);
    }
    batch.send().map_err(|(errno, options)| refused("nftables", errno, options))
}

/// Takes the table away, if there is one.
pub fn clear(records: &Records) {
    if records.unmark("table")
        && let Err((errno, _)) = Batch::without(TABLE).send()
    {
        mote::warn!("nftables: {}; the table {TABLE} stays", mote::error::words(errno));
    }
}
