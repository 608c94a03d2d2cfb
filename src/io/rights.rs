//! How a node's own authority stands, as its journal has it: of a node that does not run, too.
use super::clock;
use super::identity::Identity;
use super::store::Store;
use crate::broadcast::{Authorities, Body, Order, Standing};
use crate::key::KeyId;
use crate::proto::record;
use std::io;
use std::path::Path;

/// Without a clock that is set, dates are not asked.
pub fn standing(data: &Path, identity: &Identity, key: KeyId) -> io::Result<Standing> {
    let mut known = Authorities::new(identity.roots.clone());
    for record in Store::peek(data)? {
        let Some(record::Body::Order(signed)) = record.body else { continue };
        let rights = |order: Order| matches!(order.body, Body::Grant(_) | Body::Revoke(_));
        if Order::decode(&signed.payload).is_ok_and(rights)
            && let Ok(order) = known.recall(&signed)
        {
            known.admit(&order, &signed);
        }
    }
    let now = clock::wall();
    Ok(known.standing(key, (now >= clock::EARLIEST).then_some(now)))
}

#[cfg(test)]
mod tests {
    use super::super::identity::{NewNode, Rights, Root, SPEAKS, load_authority};
    use super::*;
    use crate::node::Role;
    use crate::proto::Record;

    #[test]
    fn a_right_stands_as_the_journal_says_until_it_is_revoked_or_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (root, data) = (Root::generate(), folder.path().join("data"));
        let area: crate::broadcast::Area = "vn".parse().unwrap();
        let new = NewNode { role: Role::Relay, area: area.clone(), name: "node".into(), authority: Some("a".into()) };
        root.provision(&data, &new).unwrap();
        let key = load_authority(&data, "a").unwrap().public();
        let stands = || standing(&data, &Identity::load(&data).unwrap(), key.id()).unwrap();
        let now = clock::wall();
        assert_eq!(stands().trouble(Some(now)), None);
        let write = |signed| {
            let record = Record { body: Some(record::Body::Order(signed)) };
            Store::open(&data).unwrap().append(&[record]).unwrap();
        };
        write(root.revoke(key.id(), area.clone(), now));
        assert_eq!(stands(), Standing::Revoked);
        // A revoked key is not granted anything any more.
        write(root.grant(&key, area, "a", &Rights::of(&SPEAKS), now));
        assert_eq!(stands(), Standing::Revoked);
    }
}
