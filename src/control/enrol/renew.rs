//! `loa enrol --renew`: what runs out in a node's folder is given anew, to the folder or to the node that runs on it.
use super::super::client::Client;
use super::super::text::{Failure, Language, say};
use super::super::{CONFIG, when};
use crate::broadcast::{Body, Grant, Order, Placement};
use crate::config::Config;
use crate::io::certify::{Dates, LIFE};
use crate::io::identity::{Identity, Rights, Root};
use crate::io::store::Store;
use crate::io::{clock, examine};
use crate::proto;
use crate::time::Civil;
use chrono_tz::Tz;
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// What was renewed.
#[derive(Debug, Serialize)]
pub struct Renewed {
    pub folder: PathBuf,
    pub node: Uuid,
    /// Until when its certificate holds, and until when it may speak, if it may; RFC 3339 and µs.
    pub certificate_until: String,
    pub certificate_until_us: i64,
    pub until: Option<String>,
    pub until_us: Option<i64>,
    #[serde(skip)]
    zone: Tz,
}

impl Renewed {
    pub fn text(&self, language: Language) -> String {
        let folder = self.folder.display();
        let certificate = when::day(Civil(self.certificate_until_us), self.zone, language);
        match self.until_us {
            Some(until) => {
                let until = when::date(Civil(until), self.zone, language);
                say(language, "enrol.renewed", [&folder, &self.node, &until, &certificate])
            }
            None => say(language, "enrol.renewed_silent", [&folder, &self.node, &certificate]),
        }
    }
}

/// New orders in place of the newest of each kind in the folder's journal.
pub async fn renew(root: &Root, data: &Path, issuer: bool, language: Language) -> Result<Renewed, Failure> {
    let unusable = |error: &dyn std::fmt::Display| Failure::new("node.folder", [&data.display(), error]);
    let identity = Identity::load(data).map_err(|error| unusable(&error))?;
    let now = clock::wall();
    // A running node shows the new ones from its next start on; until then the old ones hold.
    root.certify_again(data, Dates::days(LIFE)).map_err(|error| unusable(&error))?;
    if issuer || data.join("issuer.key").exists() {
        root.appoint(data).map_err(|error| unusable(&error))?;
    }
    let orders = match Store::open(data) {
        Ok(store) => {
            let orders = renewed(root, &identity, &store.journal().map_err(|error| unusable(&error))?, now);
            let record = |order| proto::Record { body: Some(proto::record::Body::Order(order)) };
            let records: Vec<_> = orders.iter().cloned().map(record).collect();
            store.append(&records).map_err(|error| unusable(&error))?;
            orders
        }
        // Its node runs, and takes them by its API.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let client = Client::find(None, Some(data), language)?;
            let journal = Store::peek(data).map_err(|error| unusable(&error))?;
            let orders = renewed(root, &identity, &journal, now);
            for order in &orders {
                client.give(order).await?;
            }
            orders
        }
        Err(error) => return Err(unusable(&error)),
    };
    let ends = orders.iter().filter_map(|signed| match Order::decode(&signed.payload).ok()?.body {
        Body::Grant(grant) => Some(grant.until),
        _ => None,
    });
    let until = ends.max();
    let zone = Config::load(&data.join(CONFIG)).map_or(chrono_tz::Asia::Ho_Chi_Minh, |config| config.node.zone);
    let certificate = Identity::load(data).ok().and_then(|identity| examine::until(&identity)).unwrap_or(now);
    Ok(Renewed {
        folder: data.to_owned(),
        node: identity.node,
        certificate_until: when::show(certificate, zone),
        certificate_until_us: certificate.0,
        until: until.map(|until| when::show(until, zone)),
        until_us: until.map(|until| until.0),
        zone,
    })
}

fn renewed(root: &Root, identity: &Identity, journal: &[proto::Record], now: Civil) -> Vec<proto::Signed> {
    let orders = journal.iter().filter_map(|record| match &record.body {
        Some(proto::record::Body::Order(signed)) => Order::decode(&signed.payload).ok(),
        _ => None,
    });
    let mut placement: Option<Placement> = None;
    let mut grants: Vec<Grant> = Vec::new();
    for order in orders {
        match order.body {
            Body::Placement(found) if found.node == identity.node => placement = Some(found),
            // Grants that came from elsewhere are renewed where they were given.
            Body::Grant(found) if order.authority == root.key().id() => {
                grants.retain(|grant| grant.key != found.key);
                grants.push(found);
            }
            _ => {}
        }
    }
    let grants = grants.into_iter().flat_map(|grant| {
        let Grant { key, areas, kinds, name, alone_from, .. } = grant;
        let again = move |area| root.grant(&key, area, &name, &Rights { kinds: &kinds, alone_from }, now);
        areas.into_iter().map(again)
    });
    placement.map(|placement| root.placement(placement, now)).into_iter().chain(grants).collect()
}
