//! Ports of this node, and the way to its parents.
use super::{Level, Report};
use crate::config::Config;
use crate::control::text::say;
use crate::io::identity::Identity;
use crate::io::probe::{self, Found};
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

/// Opens each port and closes it again, unless the node that runs has them.
pub fn ports(config: &Config, report: &mut Report, running: bool) {
    let mut taken: Vec<(String, &str, Option<std::io::Error>)> = Vec::new();
    if let Some(children) = &config.children {
        // Port 0 is any that is free.
        let shards = if children.listen.port() == 0 { 0 } else { children.shards };
        for shard in 0..shards {
            let address = SocketAddr::from((children.listen.ip(), children.listen.port().saturating_add(shard)));
            let tried = if running { None } else { UdpSocket::bind(address).err() };
            taken.push((format!("udp {address}"), "[children] listen", tried));
        }
        if let Some(interface) = &children.interface
            && !Path::new("/sys/class/net").join(interface).exists()
        {
            report.mistake("children.interface", [interface]);
        }
    }
    let api = config.api.as_ref().map(|api| ("[api] listen", api.listen));
    for (section, address) in api.into_iter().chain([("[admin] listen", config.admin.listen)]) {
        let tried = if running { None } else { TcpListener::bind(address).err() };
        taken.push((format!("tcp {address}"), section, tried));
    }
    for (address, section, error) in taken {
        match error {
            Some(error) => report.mistake("config.port_taken", [&address, &section, &error]),
            None if running => report.ok("port.own", [&address, &section]),
            None => report.ok("port.free", [&address, &section]),
        }
    }
}

/// Dials each parent once. One that is not to be had is a warning while another answers.
pub fn parents(config: &Config, identity: Option<&Identity>, report: &mut Report) {
    let Some(parent) = &config.parent else { return };
    let mut tried = Vec::new();
    for name in &parent.addresses {
        let Some(identity) = identity else {
            // Without a certificate nobody answers: the name alone can be tried.
            match probe::find(name) {
                Ok(address) => report.ok("parent.named", [name, &address]),
                Err(why) => report.mistake("parent.name", [name, &why]),
            }
            continue;
        };
        tried.push((name, probe::parent(identity, name, parent.shards)));
    }
    let answered = tried.iter().any(|(_, found)| matches!(found, Found::Answers { .. }));
    let level = if answered { Level::Warning } else { Level::Mistake };
    for (name, found) in &tried {
        let language = report.language;
        let mut wrong = |code: &str, text: String| report.add(level, code, text);
        match found {
            Found::Answers { address, peer, took } => {
                report.ok("parent.fine", [name, address, &peer.node, &took.as_millis()]);
            }
            Found::NoName(why) => wrong("parent.name", say(language, "parent.name", [name, why])),
            Found::Closed(at) => wrong("parent.closed", say(language, "parent.closed", [name, at])),
            Found::Silent(at) => {
                let places: [&dyn Display; 3] = [name, at, &probe::PATIENCE.as_secs()];
                wrong("parent.silent", say(language, "parent.silent", places));
            }
            Found::RefusesUs(at, why) => {
                wrong("parent.refuses_us", say(language, "parent.refuses_us", [name, at, why]));
            }
            Found::Refused(at, why) => wrong("parent.refused", say(language, "parent.refused", [name, at, why])),
            Found::Broken(why) => wrong("parent.broken", say(language, "parent.broken", [name, why])),
        }
    }
}
