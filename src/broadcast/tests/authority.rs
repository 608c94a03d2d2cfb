use crate::broadcast::fixtures::*;
use crate::broadcast::*;
use crate::proto;
use crate::time::{Civil, SECOND};

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    let refusal = result.unwrap_err();
    assert!(CODES.contains(&refusal.code) && !refusal.text.is_empty());
    refusal.code
}

impl Country {
    fn admits(&mut self, signed: &proto::Signed) -> Result<Vouched, Refusal> {
        let order = self.authorities.check(signed, Some(NOW))?;
        self.authorities.admit(&order, signed);
        Ok(order)
    }

    fn says(&self, by: &Signer, area: &str, priority: Priority) -> Result<Vouched, Refusal> {
        self.authorities.check(&by.sign(&[area], Body::Broadcast(bulletin(priority, 0, 10))), Some(NOW))
    }
}

fn revoke(key: &Signer, epoch: u64) -> Body {
    Body::Revoke(Revoke { key: key.id(), epoch })
}

#[test]
fn each_authority_speaks_within_its_grant_and_no_further() {
    let c = Country::new();
    assert!(c.says(&c.root, "anywhere", Priority::Emergency).is_ok());
    assert!(c.says(&c.nation, "vn", Priority::Emergency).is_ok());
    assert!(c.says(&c.commune, "vn/01/00004", Priority::Priority).is_ok());
    assert!(c.says(&c.commune, "vn/01/00004/a", Priority::Normal).is_ok());
    assert_eq!(code(c.says(&c.commune, "vn/01/00004", Priority::Emergency)), "order.scope");
    assert_eq!(code(c.says(&c.commune, "vn/01/00005", Priority::Normal)), "order.scope");
    assert_eq!(code(c.says(&c.commune, "vn/01", Priority::Normal)), "order.scope");
    assert_eq!(code(c.says(&c.stranger, "vn/01/00004", Priority::Normal)), "order.grant_unknown");
    let both = c.province.sign(&["vn/01", "vn/02"], Body::Broadcast(bulletin(Priority::Normal, 0, 1)));
    assert_eq!(code(c.authorities.check(&both, Some(NOW))), "order.scope");
}

#[test]
fn a_kind_that_is_not_granted_is_refused() {
    let c = Country::new();
    let at_home = Placement { node: fresh_id(), area: area("vn/01/00004"), name: String::new(), parents: Vec::new() };
    let placement = c.commune.sign(&["vn/01/00004"], Body::Placement(at_home.clone()));
    assert_eq!(code(c.authorities.check(&placement, Some(NOW))), "order.scope");
    assert!(c.authorities.check(&c.province.sign(&["vn/01"], Body::Placement(at_home)), Some(NOW)).is_ok());
    let away = Placement { node: fresh_id(), area: area("vn/02/1"), name: String::new(), parents: Vec::new() };
    let away = c.province.sign(&["vn/01"], Body::Placement(away));
    assert_eq!(code(c.authorities.check(&away, Some(NOW))), "order.scope");
    assert_eq!(
        code(c.authorities.check(&c.commune.sign(&["vn/01/00004"], revoke(&c.stranger, 1)), Some(NOW))),
        "order.scope"
    );
    let tick = Body::Tick(Tick { time: NOW, log: fresh_id(), head: 3, epoch: 0 });
    assert!(c.authorities.check(&c.commune.sign(&[], tick), Some(NOW)).is_ok());
}

#[test]
fn a_hush_silences_up_to_the_signers_own_priority() {
    let c = Country::new();
    let hush = |up_to| c.authorities.check(&c.commune.sign(&["vn/01/00004"], hush(up_to, at(5))), Some(NOW));
    assert!(hush(Priority::Priority).is_ok());
    assert_eq!(code(hush(Priority::Emergency)), "order.scope");
}

#[test]
fn tampered_bytes_and_signatures_are_refused() {
    let c = Country::new();
    let good = c.province.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 10)));
    assert!(c.authorities.check(&good, Some(NOW)).is_ok());
    for index in 0..good.payload.len() {
        let mut payload = good.payload.to_vec();
        payload[index] ^= 1;
        let bad = proto::Signed { payload: payload.into(), ..good.clone() };
        assert!(c.authorities.check(&bad, Some(NOW)).is_err(), "byte {index} can be changed");
    }
    for index in 0..64 {
        let mut bad = good.clone();
        let mut value = bad.signatures[0].value.to_vec();
        value[index] ^= 0x80;
        bad.signatures[0].value = value.into();
        assert_eq!(code(c.authorities.check(&bad, Some(NOW))), "order.signature");
    }
    let mut short = good.clone();
    short.signatures[0].value = short.signatures[0].value.slice(..63);
    assert_eq!(code(c.authorities.check(&short, Some(NOW))), "order.signature");
}

#[test]
fn of_one_to_four_signatures_the_authoritys_is_one_and_every_known_one_holds() {
    let c = Country::new();
    let good = c.province.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 10)));
    let by = |signer: &Signer| {
        let value = signer.key.sign(crate::key::Domain::Order, &good.payload).to_vec().into();
        proto::Signature { key: signer.id().0.to_vec().into(), value }
    };
    let with = |signatures: Vec<proto::Signature>| {
        c.authorities.check(&proto::Signed { payload: good.payload.clone(), signatures }, Some(NOW))
    };
    assert!(with(vec![by(&c.commune), by(&c.province), by(&c.stranger)]).is_ok());
    assert_eq!(code(with(vec![])), "order.malformed");
    assert_eq!(
        code(with([7, 8, 9, 10].iter().map(|seed| by(&Signer::new(*seed))).chain([by(&c.province)]).collect())),
        "order.malformed"
    );
    assert_eq!(code(with(vec![by(&c.province), by(&c.province)])), "order.malformed");
    assert_eq!(code(with(vec![by(&c.commune), by(&c.nation)])), "order.signature");
    let forged = proto::Signature { value: by(&c.commune).value, ..by(&c.nation) };
    assert_eq!(code(with(vec![by(&c.province), forged])), "order.signature");
}

#[test]
fn a_signature_for_another_purpose_does_not_pass() {
    let c = Country::new();
    let mut signed = c.province.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 10)));
    signed.signatures[0].value = c.province.key.sign(crate::key::Domain::Seal, &signed.payload).to_vec().into();
    assert_eq!(code(c.authorities.check(&signed, Some(NOW))), "order.signature");
}

#[test]
fn orders_from_the_future_and_expired_ones_are_refused() {
    let c = Country::new();
    let order = c.province.order(&["vn/01"], hush(Priority::Normal, at(5))).until(at(10));
    let check = |order: &Order, now: Civil| c.authorities.check(&sign(order, &c.province.key), Some(now));
    assert!(check(&order, NOW - 60 * SECOND).is_ok());
    assert_eq!(code(check(&order, NOW - (60 * SECOND + 1))), "order.future");
    assert!(check(&order, at(10) - 1).is_ok());
    assert_eq!(code(check(&order, at(10))), "order.expired");
}

#[test]
fn a_grant_counts_within_its_dates_only() {
    let c = Country::new();
    let late = |days: i64| {
        let order = Order { issued: NOW + days * DAY, ..c.commune.order(&["vn/01/00004"], cancel(fresh_id(), at(0))) };
        c.authorities.check(&sign(&order.until(NOW + 30 * DAY), &c.commune.key), Some(NOW + days * DAY))
    };
    assert!(late(10).is_ok());
    assert_eq!(code(late(11)), "order.grant_expired");
}

#[test]
fn without_trusted_time_only_what_cannot_wait_is_taken() {
    let c = Country::new();
    let check = |body: Body| c.authorities.check(&c.province.sign(&["vn/01"], body), None);
    assert_eq!(code(check(Body::Broadcast(bulletin(Priority::Priority, 0, 9)))), "order.no_time");
    assert_eq!(code(check(hush(Priority::Normal, at(9)))), "order.no_time");
    assert!(check(Body::Broadcast(bulletin(Priority::Emergency, 0, 9))).is_ok());
    assert!(check(cancel(fresh_id(), at(0))).is_ok());
    assert!(check(Body::Grant(grant(&c.stranger, &["vn/01"], &[Kind::Tick], Priority::Normal, 2))).is_ok());
    assert!(
        check(Body::Placement(Placement {
            node: fresh_id(),
            area: area("vn/01"),
            name: "x".into(),
            parents: Vec::new()
        }))
        .is_ok()
    );
    assert!(check(Body::Tick(Tick { time: NOW, log: fresh_id(), head: 0, epoch: 0 })).is_ok());
    assert!(check(revoke(&c.commune, 1)).is_ok());
    let outside = c.province.sign(&["vn/02"], Body::Broadcast(bulletin(Priority::Emergency, 0, 9)));
    assert_eq!(code(c.authorities.check(&outside, None)), "order.scope");
}

#[test]
fn a_grant_may_only_narrow_what_the_granter_holds() {
    let c = Country::new();
    let try_grant = |by: &Signer, grant: Grant| c.authorities.check(&by.grants(grant), Some(NOW));
    let to = &c.stranger;
    let p = Priority::Emergency;
    assert!(try_grant(&c.province, grant(to, &["vn/01/1", "vn/01/2"], &[Kind::Broadcast], p, 12)).is_ok());
    assert_eq!(code(try_grant(&c.province, grant(to, &["vn/01", "vn/02"], &[Kind::Broadcast], p, 12))), "order.scope");
    assert_eq!(code(try_grant(&c.province, grant(to, &["vn/01"], &[Kind::Broadcast], p, 13))), "order.scope");
    let local = [Kind::Broadcast, Kind::Grant];
    let mut c = Country::new();
    let sub = Signer::new(20);
    let signed = c.province.grants(grant(&sub, &["vn/01/9"], &local, Priority::Normal, 5));
    c.admits(&signed).unwrap();
    let try_grant = |grant: Grant| c.authorities.check(&sub.grants(grant), Some(NOW));
    assert!(try_grant(grant(&c.stranger, &["vn/01/9"], &[Kind::Broadcast], Priority::Normal, 5)).is_ok());
    let wide = grant(&c.stranger, &["vn/01/9"], &[Kind::Cancel], Priority::Normal, 5);
    assert_eq!(code(try_grant(wide)), "order.scope");
    assert_eq!(code(try_grant(grant(&c.stranger, &["vn/01/9"], &local, Priority::Priority, 5))), "order.scope");
    let commune = c.commune.grants(grant(&c.stranger, &["vn/01/00004"], &[Kind::Broadcast], Priority::Normal, 5));
    assert_eq!(code(c.authorities.check(&commune, Some(NOW))), "order.scope");
    // The order's own areas must lie within the grant too.
    let wide = Body::Grant(grant(&c.stranger, &["vn/01/9"], &[Kind::Broadcast], Priority::Normal, 5));
    assert_eq!(code(c.authorities.check(&sub.sign(&["vn"], wide), Some(NOW))), "order.scope");
}

#[test]
fn a_chain_has_at_most_eight_grants() {
    let mut c = Country::new();
    let signers: Vec<Signer> = (30..39).map(Signer::new).collect();
    let mut granter = &c.root;
    let mut chain = Vec::new();
    for signer in &signers[..8] {
        chain.push(granter.grants(grant(signer, &["vn"], &EVERY_KIND, Priority::Normal, 3)));
        granter = signer;
    }
    let last = granter.grants(grant(&signers[8], &["vn"], &EVERY_KIND, Priority::Normal, 3));
    for signed in &chain {
        let order = c.authorities.check(signed, Some(NOW)).unwrap();
        c.authorities.admit(&order, signed);
    }
    assert!(c.says(&signers[7], "vn", Priority::Normal).is_ok());
    assert_eq!(code(c.admits(&last)), "order.depth");
    assert_eq!(c.authorities.chain(signers[7].id()), chain);
}

#[test]
fn a_chain_is_what_another_node_needs_to_check_its_key() {
    let c = Country::new();
    let chain = c.authorities.chain(c.commune.id());
    assert_eq!(chain.len(), 3);
    assert!(c.authorities.chain(c.root.id()).is_empty());
    assert!(c.authorities.chain(c.stranger.id()).is_empty());
    let mut other = Country { authorities: Authorities::new(vec![c.root.public()]), ..Country::new() };
    assert_eq!(code(other.says(&c.commune, "vn/01/00004", Priority::Normal)), "order.grant_unknown");
    chain.iter().for_each(|signed| drop(other.admits(signed).unwrap()));
    assert!(other.says(&c.commune, "vn/01/00004", Priority::Normal).is_ok());
}

#[test]
fn a_revoked_key_takes_everything_beneath_it_along() {
    let mut c = Country::new();
    let signed = c.nation.sign(&["vn/01"], revoke(&c.province, 7));
    c.admits(&signed).unwrap();
    assert_eq!(c.authorities.epoch(), 7);
    assert_eq!(code(c.says(&c.province, "vn/01", Priority::Normal)), "order.revoked");
    assert_eq!(code(c.says(&c.commune, "vn/01/00004", Priority::Normal)), "order.revoked");
    assert!(c.says(&c.neighbour, "vn/02", Priority::Emergency).is_ok());
    assert!(c.authorities.chain(c.commune.id()).is_empty());
    let again = c.province.grants(grant(&c.stranger, &["vn/01/1"], &[Kind::Broadcast], Priority::Normal, 1));
    assert_eq!(code(c.admits(&again)), "order.revoked");
    // A fresh grant from above does not wake a revoked key; another key under the nation serves.
    let renewed = c.nation.grants(grant(&c.province, &["vn/01"], &EVERY_KIND, Priority::Emergency, 12));
    c.admits(&renewed).unwrap();
    assert_eq!(code(c.says(&c.province, "vn/01", Priority::Normal)), "order.revoked");
    let fresh = c.nation.grants(grant(&c.commune, &["vn/01/00004"], &[Kind::Broadcast], Priority::Normal, 12));
    c.admits(&fresh).unwrap();
    assert!(c.says(&c.commune, "vn/01/00004", Priority::Normal).is_ok());
}

#[test]
fn a_revocation_reaches_no_further_than_its_signer() {
    let mut c = Country::new();
    let upwards = c.province.sign(&["vn/01"], revoke(&c.nation, 3));
    assert_eq!(code(c.admits(&upwards)), "order.scope");
    let sideways = c.neighbour.sign(&["vn/02"], revoke(&c.province, 3));
    assert_eq!(code(c.admits(&sideways)), "order.scope");
    let claimed = c.neighbour.sign(&["vn"], revoke(&c.province, 3));
    assert_eq!(code(c.admits(&claimed)), "order.scope");
    let root = c.nation.sign(&["vn"], revoke(&c.root, 3));
    assert_eq!(code(c.admits(&root)), "order.scope");
    assert_eq!(c.authorities.epoch(), 0);
    let by_root = c.root.sign(&["vn/09"], revoke(&c.nation, 4));
    c.admits(&by_root).unwrap();
    assert_eq!(code(c.says(&c.commune, "vn/01/00004", Priority::Normal)), "order.revoked");
}

#[test]
fn a_revocation_that_comes_before_its_grant_still_holds() {
    let mut c = Country::new();
    let early = c.province.sign(&["vn/01"], revoke(&c.stranger, 1));
    c.admits(&early).unwrap();
    let inside = c.province.grants(grant(&c.stranger, &["vn/01/8"], &[Kind::Broadcast], Priority::Normal, 2));
    c.admits(&inside).unwrap();
    assert_eq!(code(c.says(&c.stranger, "vn/01/8", Priority::Normal)), "order.revoked");
    // The province's revocation says nothing of what the neighbour grants.
    let outside = c.neighbour.grants(grant(&c.stranger, &["vn/02/8"], &[Kind::Broadcast], Priority::Normal, 2));
    c.admits(&outside).unwrap();
    assert!(c.says(&c.stranger, "vn/02/8", Priority::Normal).is_ok());
}

#[test]
fn keys_that_grant_to_one_another_do_not_hold_each_other_up() {
    let mut c = Country::new();
    let [a, b] = [40, 41].map(Signer::new);
    let wide = |to: &Signer| grant(to, &["vn/01/7"], &EVERY_KIND, Priority::Normal, 3);
    for signed in [c.province.grants(wide(&a)), a.grants(wide(&b)), b.grants(wide(&a))] {
        c.admits(&signed).unwrap();
    }
    let signed = c.nation.sign(&["vn/01"], revoke(&c.province, 1));
    c.admits(&signed).unwrap();
    assert_eq!(code(c.says(&a, "vn/01/7", Priority::Normal)), "order.revoked");
    assert_eq!(code(c.says(&b, "vn/01/7", Priority::Normal)), "order.revoked");
}

#[test]
fn a_grant_leans_only_on_one_that_contains_it() {
    let narrower: [fn(&mut Grant); 4] = [
        |grant| grant.up_to = Priority::Normal,
        |grant| grant.until = NOW + DAY,
        |grant| grant.from = NOW,
        |grant| grant.areas = areas_of(&["vn/01/8"]),
    ];
    for narrow in narrower {
        let mut c = Country::new();
        let [middle, low] = [45, 46].map(Signer::new);
        let wide = grant(&middle, &["vn/01"], &EVERY_KIND, Priority::Emergency, 5);
        let mut weak = wide.clone();
        narrow(&mut weak);
        let weak = c.root.grants(weak);
        c.admits(&weak).unwrap();
        let further = middle.grants(grant(&low, &["vn/01"], &EVERY_KIND, Priority::Emergency, 5));
        assert_eq!(code(c.admits(&further)), "order.scope");
        let strong = c.province.grants(wide);
        c.admits(&strong).unwrap();
        c.admits(&further).unwrap();
        assert!(c.says(&low, "vn/01/7", Priority::Emergency).is_ok());
        let signed = c.root.sign(&["vn"], revoke(&c.province, 1));
        c.admits(&signed).unwrap();
        assert_eq!(code(c.says(&low, "vn/01/8", Priority::Normal)), "order.revoked");
        assert!(c.says(&middle, "vn/01/8", Priority::Normal).is_ok());
    }
}

#[test]
fn a_shorter_chain_to_a_key_shortens_those_beneath_it() {
    let mut c = Country::new();
    let signers: Vec<Signer> = (30..40).map(Signer::new).collect();
    let mut granter = &c.root;
    let mut chain = Vec::new();
    for signer in &signers[..9] {
        chain.push(granter.grants(grant(signer, &["vn"], &EVERY_KIND, Priority::Normal, 3)));
        granter = signer;
    }
    let shortcut = c.root.grants(grant(&signers[3], &["vn"], &EVERY_KIND, Priority::Normal, 3));
    let (last, first) = chain.split_last().unwrap();
    for signed in first {
        let order = c.authorities.check(signed, Some(NOW)).unwrap();
        c.authorities.admit(&order, signed);
    }
    assert_eq!(code(c.authorities.check(last, Some(NOW))), "order.depth");
    let order = c.authorities.check(&shortcut, Some(NOW)).unwrap();
    c.authorities.admit(&order, &shortcut);
    assert!(c.authorities.check(last, Some(NOW)).is_ok());
    assert_eq!(c.authorities.chain(signers[7].id()).len(), 8 - 3);
}

#[test]
fn everything_held_rebuilds_the_same_authorities() {
    let mut c = Country::new();
    let signed = c.nation.sign(&["vn/01"], revoke(&c.commune, 2));
    c.admits(&signed).unwrap();
    let mut other = Country { authorities: Authorities::new(vec![c.root.public()]), ..Country::new() };
    c.authorities.all().iter().for_each(|signed| drop(other.admits(signed).unwrap()));
    assert_eq!(other.authorities.all(), c.authorities.all());
    assert_eq!(other.authorities.epoch(), 2);
    assert!(other.says(&c.province, "vn/01", Priority::Normal).is_ok());
    assert_eq!(code(other.says(&c.commune, "vn/01/00004", Priority::Normal)), "order.revoked");
}

#[test]
fn a_journal_recalls_what_was_vouched_for_though_its_authority_is_gone() {
    let mut c = Country::new();
    let stop = c.commune.sign(&["vn/01/00004"], cancel(fresh_id(), at(0)));
    let signed = c.province.sign(&["vn/01"], revoke(&c.commune, 1));
    c.admits(&signed).unwrap();
    assert_eq!(code(c.authorities.check(&stop, Some(NOW))), "order.revoked");
    assert!(c.authorities.recall(&stop).is_ok());
    let forged =
        proto::Signed { signatures: c.province.sign(&["vn/01"], cancel(fresh_id(), at(0))).signatures, ..stop };
    assert_eq!(code(c.authorities.recall(&forged)), "order.signature");
}

#[test]
fn old_grants_are_forgotten_and_a_flood_of_grants_displaces_itself() {
    let mut c = Country::new();
    for _ in 0..10 {
        let signed = c.province.grants(grant(&c.stranger, &["vn/01/3"], &[Kind::Broadcast], Priority::Normal, 4));
        c.admits(&signed).unwrap();
    }
    assert_eq!(c.authorities.all().len(), 4 + 4, "at most four grants from one granter to one key");
    for seed in 100..130 {
        let granter = Signer::new(seed);
        let signed = c.province.grants(grant(&granter, &["vn/01/00004"], &EVERY_KIND, Priority::Normal, 4));
        c.admits(&signed).unwrap();
        let signed = granter.grants(grant(&c.commune, &["vn/01/00004"], &[Kind::Tick], Priority::Normal, 1));
        c.admits(&signed).unwrap();
    }
    assert!(c.says(&c.commune, "vn/01/00004", Priority::Priority).is_ok(), "worthless grants displaced the real one");
    c.authorities.expire(NOW + 13 * DAY + 31 * DAY);
    assert!(c.authorities.all().is_empty());
}
