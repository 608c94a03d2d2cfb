//! Two signatures, locks and their release, and what an area would rather hear.

use crate::broadcast::fixtures::*;
use crate::broadcast::*;
use crate::key::KeyId;
use crate::proto;
use crate::time::SECOND;
use uuid::Uuid;

/// The country of the other tests, with a second administrator of the nation and what they all have been told.
struct Land {
    country: Country,
    second: Signer,
    book: Book,
}

impl Land {
    fn new() -> Self {
        let mut land = Self { country: Country::new(), second: Signer::new(9), book: Book::new() };
        let signed = land.country.root.grants(grant(&land.second, &["vn"], &EVERY_KIND, Priority::Emergency, 13));
        land.takes(&signed).unwrap();
        land
    }

    /// As a node does.
    fn takes(&mut self, signed: &proto::Signed) -> Result<Change, Refusal> {
        let change = self.country.take(&mut self.book, NOW, signed)?;
        let Country { authorities, .. } = &self.country;
        let withdrawn = |signed: &proto::Signed| authorities.is_withdrawn(&Order::decode(&signed.payload).unwrap());
        self.book.withdraw(NOW, withdrawn);
        Ok(change)
    }

    fn sounds(&self, at: crate::time::Civil) -> Option<Uuid> {
        choose(&self.book, &area("vn/01/00004"), Some(at)).broadcast
    }

    fn locks(&mut self, by: fn(&Country) -> &Signer, areas: &[&str], key: KeyId) -> Result<Uuid, Refusal> {
        let signed = by(&self.country).sign(areas, Body::Lock(Lock { key }));
        self.takes(&signed)?;
        Ok(order_id(&signed))
    }
}

fn also_signed_by(mut signed: proto::Signed, others: &[&Signer]) -> proto::Signed {
    signed.signatures.extend(others.iter().map(|other| countersign(&signed.payload, &other.key)));
    signed
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    result.unwrap_err().code
}

fn emergency() -> Body {
    let mut emergency = bulletin(Priority::Emergency, 0, 5);
    emergency.tone = Some(Tone { at: NOW, which: 1, duration: SECOND });
    emergency.renditions[0].anchor = NOW + SECOND;
    Body::Broadcast(emergency)
}

/// `key` may wake one province alone, no more.
fn careful(key: &Signer) -> Grant {
    Grant { alone_from: 2, ..grant(key, &["vn"], &EVERY_KIND, Priority::Emergency, 11) }
}

#[test]
fn an_emergency_wider_than_one_may_give_alone_takes_the_signature_of_another() {
    let mut land = Land::new();
    let [a, b] = [21, 22].map(Signer::new);
    for signed in [land.country.nation.grants(careful(&a)), land.country.nation.grants(careful(&b))] {
        land.takes(&signed).unwrap();
    }
    assert!(land.takes(&a.sign(&["vn/01"], emergency())).is_ok());
    assert!(land.takes(&a.sign(&["vn/01/00004", "vn/01/00005"], emergency())).is_ok());
    assert_eq!(code(land.takes(&a.sign(&["vn"], emergency()))), "order.second");
    // Two provinces are wider than one, whatever they are called.
    assert_eq!(code(land.takes(&a.sign(&["vn/01", "vn/02/00001"], emergency()))), "order.second");
    let both = also_signed_by(a.sign(&["vn"], emergency()), &[&b]);
    assert!(land.takes(&both).is_ok());
    // What is no emergency, and what stops one, never waits for a second.
    assert!(land.takes(&a.sign(&["vn"], Body::Broadcast(bulletin(Priority::Priority, 1, 5)))).is_ok());
    assert!(land.takes(&a.sign(&["vn"], hush(Priority::Emergency, at(5)))).is_ok());
    assert!(land.takes(&a.sign(&["vn"], cancel(order_id(&both), NOW))).is_ok());
}

#[test]
fn a_second_signature_by_a_key_of_ones_own_making_or_out_of_place_does_not_count() {
    let mut land = Land::new();
    let [a, own, local, b] = [21, 22, 23, 24].map(Signer::new);
    let near = Grant { alone_from: 2, ..grant(&local, &["vn/01"], &EVERY_KIND, Priority::Emergency, 10) };
    let grants = [
        land.country.nation.grants(careful(&a)),
        a.grants(Grant { key: own.public(), from: NOW - DAY, until: NOW + DAY, ..careful(&own) }),
        land.country.nation.grants(near),
        land.country.nation.grants(careful(&b)),
    ];
    for signed in &grants {
        land.takes(signed).unwrap();
    }
    let wide = || a.sign(&["vn"], emergency());
    let stranger = Signer::new(99);
    for second in [&own, &local, &stranger, &a] {
        let signed = also_signed_by(wide(), &[second]);
        let refusal = land.takes(&signed).unwrap_err().code;
        assert!(["order.second", "order.malformed"].contains(&refusal), "{refusal}");
    }
    // Signed by a true second, but another order.
    let mut mixed = wide();
    mixed.signatures.push(countersign(&wide().payload, &b.key));
    assert_eq!(code(land.takes(&mixed)), "order.signature");
    // The other way round: what a key made signs first, and its maker second.
    let upwards = also_signed_by(own.sign(&["vn"], emergency()), &[&a]);
    assert_eq!(code(land.takes(&upwards)), "order.second");
    assert!(land.takes(&also_signed_by(wide(), &[&b, &own])).is_ok());
}

#[test]
fn two_keys_of_one_that_may_not_do_it_alone_may_not_do_it_together() {
    let mut land = Land::new();
    let [above, a, b] = [21, 22, 23].map(Signer::new);
    land.takes(&land.country.nation.grants(careful(&above))).unwrap();
    let within = |key: &Signer| Grant { from: NOW - DAY, until: NOW + DAY, ..careful(key) };
    land.takes(&above.grants(within(&a))).unwrap();
    land.takes(&above.grants(within(&b))).unwrap();
    let both = also_signed_by(a.sign(&["vn"], emergency()), &[&b]);
    assert_eq!(code(land.takes(&both)), "order.second");
    // Nor may it let anyone do more alone than itself.
    let loose = Grant { alone_from: 0, ..within(&Signer::new(24)) };
    assert_eq!(code(land.takes(&above.grants(loose))), "order.scope");
}

#[test]
fn a_lock_ends_what_its_key_said_and_lets_it_say_nothing_more() {
    let mut land = Land::new();
    let said = land.country.commune.sign(&["vn/01/00004"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
    land.takes(&said).unwrap();
    let other = land.country.neighbour.sign(&["vn/02"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
    land.takes(&other).unwrap();
    assert_eq!(land.sounds(at(1)), Some(order_id(&said)));
    // On the province: the commune is beneath it.
    let key = land.country.province.id();
    land.locks(|country| &country.nation, &["vn/01"], key).unwrap();
    assert_eq!(land.sounds(at(1)), None);
    assert!(matches!(land.book.get(order_id(&other)).unwrap().state, State::Known));
    let again = land.country.commune.sign(&["vn/01/00004"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
    assert_eq!(code(land.takes(&again)), "order.locked");
    assert_eq!(
        code(land.takes(&land.country.province.sign(&["vn/01"], hush(Priority::Normal, at(3))))),
        "order.locked"
    );
}

#[test]
fn the_silence_that_a_stolen_key_ordered_ends_with_its_lock() {
    let mut land = Land::new();
    let said = land.country.nation.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
    let quiet = land.country.commune.sign(&["vn/01/00004"], hush(Priority::Priority, at(9)));
    for signed in [&said, &quiet] {
        land.takes(signed).unwrap();
    }
    assert_eq!(land.sounds(at(1)), None);
    let key = land.country.commune.id();
    land.locks(|country| &country.nation, &["vn/01"], key).unwrap();
    assert_eq!(land.sounds(at(1)), Some(order_id(&said)));
    assert_eq!(code(land.takes(&quiet)), "order.locked");
}

#[test]
fn a_lock_reaches_neither_neighbours_nor_those_above_nor_a_higher_priority() {
    let mut land = Land::new();
    let [sibling, higher] = [31, 32].map(Signer::new);
    let local = |key: &Signer, up_to| grant(key, &["vn/01/00004"], &[Kind::Broadcast, Kind::Hush], up_to, 10);
    land.takes(&land.country.province.grants(local(&sibling, Priority::Priority))).unwrap();
    land.takes(&land.country.province.grants(local(&higher, Priority::Emergency))).unwrap();
    let (sibling_id, higher_id, nation) = (sibling.id(), higher.id(), land.country.nation.id());
    for key in [sibling_id, higher_id] {
        land.locks(|country| &country.commune, &["vn/01/00004"], key).unwrap();
    }
    land.locks(|country| &country.province, &["vn/01"], nation).unwrap();
    for key in [&sibling, &higher] {
        let says = key.sign(&["vn/01/00004"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
        land.takes(&says).unwrap();
    }
    let says = land.country.nation.sign(&["vn"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
    land.takes(&says).unwrap();
}

#[test]
fn a_lock_is_released_by_two_neither_of_whom_made_the_other_or_by_a_root() {
    for by_root in [false, true] {
        let mut land = Land::new();
        let own = Signer::new(41);
        let key = land.country.commune.id();
        land.takes(&land.country.nation.grants(grant(&own, &["vn/01"], &[Kind::Hush], Priority::Emergency, 5)))
            .unwrap();
        let said = land.country.commune.sign(&["vn/01/00004"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
        land.takes(&said).unwrap();
        let lock = land.locks(|country| &country.nation, &["vn/01"], key).unwrap();
        let release = |by: &Signer| {
            let order = by.order(&["vn/01"], Body::Release(Release { lock }));
            sign(&Order { issued: at(0) + 30 * SECOND, ..order }, &by.key)
        };
        let (nation, second) = (&land.country.nation, &land.second);
        let alone = release(nation);
        let with_own = also_signed_by(release(nation), &[&own]);
        let two = if by_root { release(&land.country.root) } else { also_signed_by(release(nation), &[second]) };
        assert_eq!(code(land.takes(&alone)), "order.second");
        assert_eq!(code(land.takes(&with_own)), "order.second");
        let late = land.country.commune.order(&["vn/01/00004"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
        assert_eq!(land.country.authorities.locks().count(), 1);
        land.takes(&two).unwrap();
        assert_eq!(land.country.authorities.locks().count(), 0);
        // What was said before stays dead, and so does what was said meanwhile.
        assert_eq!(land.sounds(at(1)), None);
        assert_eq!(code(land.takes(&sign(&late, &land.country.commune.key))), "order.locked");
        let after = Order { issued: at(0) + 31 * SECOND, ..late };
        land.takes(&sign(&after, &land.country.commune.key)).unwrap();
        assert_eq!(land.sounds(at(1)), Some(after.id));
    }
}

#[test]
fn a_release_that_comes_first_waits_for_its_lock_but_not_if_the_locked_had_a_hand_in_it() {
    for own_hand in [false, true] {
        let mut land = Land::new();
        let locked = Signer::new(42);
        land.takes(&land.country.root.grants(grant(&locked, &["vn/01"], &EVERY_KIND, Priority::Emergency, 5))).unwrap();
        let lock = land.country.nation.sign(&["vn/01"], Body::Lock(Lock { key: locked.id() }));
        let release = land.second.sign(&["vn/01"], Body::Release(Release { lock: order_id(&lock) }));
        let release = also_signed_by(release, &[if own_hand { &locked } else { &land.country.nation }]);
        land.takes(&release).unwrap();
        land.takes(&lock).unwrap();
        let says = locked.order(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
        let says = sign(&Order { issued: NOW + SECOND, ..says }, &locked.key);
        assert_eq!(land.takes(&says).is_ok(), !own_hand);
    }
}

#[test]
fn releases_that_lift_nothing_do_not_keep_the_proper_one_out() {
    let mut land = Land::new();
    let key = land.country.commune.id();
    let lock = land.locks(|country| &country.nation, &["vn/01"], key).unwrap();
    let release = |land: &Land, areas: &[&str]| {
        let signed = land.country.nation.sign(areas, Body::Release(Release { lock }));
        also_signed_by(signed, &[&land.second])
    };
    for _ in 0..9 {
        let narrow = release(&land, &["vn/01/00004"]);
        land.takes(&narrow).unwrap();
    }
    assert_eq!(land.country.authorities.locks().count(), 1);
    let proper = release(&land, &["vn/01"]);
    land.takes(&proper).unwrap();
    assert_eq!(land.country.authorities.locks().count(), 0);
}

#[test]
fn a_lock_without_room_is_refused_and_a_roots_still_holds() {
    let mut land = Land::new();
    let full = loop {
        let other = Signer::new(100 + u8::try_from(land.country.authorities.locks().count()).unwrap());
        match land.locks(|country| &country.nation, &["vn/01"], other.id()) {
            Ok(_) => {}
            Err(full) => break full,
        }
    };
    assert_eq!((full.code, land.country.authorities.locks().count()), ("order.full", 64));
    assert!(full.text.contains("revoke the key"), "{full}");
    let key = land.country.commune.id();
    land.locks(|country| &country.root, &["vn"], key).unwrap();
    assert_eq!(land.country.authorities.locks().count(), 65);
}

#[test]
fn a_revoked_key_takes_what_it_said_along_and_a_node_told_in_another_order_agrees() {
    for revoked_first in [false, true] {
        let mut land = Land::new();
        let said = land.country.commune.sign(&["vn/01/00004"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
        let revoke = Body::Revoke(Revoke { key: land.country.commune.id(), epoch: 1 });
        let revoke = land.country.province.sign(&["vn/01"], revoke);
        let [first, then] = if revoked_first { [&revoke, &said] } else { [&said, &revoke] };
        land.takes(first).unwrap();
        let _ = land.takes(then);
        assert_eq!(land.sounds(at(1)), None);
    }
}

#[test]
fn of_priority_items_that_collide_the_area_hears_first_what_it_prefers() {
    let mut land = Land::new();
    let item = |by: &Signer, from| by.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Priority, from, 9)));
    let older = item(&land.country.nation, 0);
    let newer = item(&land.country.province, 1);
    let emergency = land.country.nation.sign(&["vn/01"], emergency());
    for signed in [&older, &newer] {
        land.takes(signed).unwrap();
    }
    let (older, newer) = (order_id(&older), order_id(&newer));
    assert_eq!(land.sounds(at(2)), Some(older));
    let prefers = |by: &Signer, areas: &[&str], first| by.sign(areas, Body::Prefer(Prefer { broadcasts: vec![first] }));
    land.takes(&prefers(&land.country.commune, &["vn/01/00004"], newer)).unwrap();
    assert_eq!(land.sounds(at(2)), Some(newer));
    assert_eq!(land.sounds(at(0)), Some(older), "it is not on yet");
    // The commune decides, whatever is preferred above; elsewhere the province's word counts, and nobody's the older.
    land.takes(&prefers(&land.country.nation, &["vn/01"], older)).unwrap();
    assert_eq!(land.sounds(at(2)), Some(newer));
    let elsewhere = |land: &Land| choose(&land.book, &area("vn/01/00005"), Some(at(2))).broadcast;
    assert_eq!(elsewhere(&land), Some(older));
    // It ends by itself, and says when.
    let choice = choose(&land.book, &area("vn/01/00004"), Some(at(2)));
    assert_eq!(choice.next, Some(at(9) + SECOND));
    land.takes(&emergency).unwrap();
    let order = prefers(&land.country.commune, &["vn/01/00004"], newer);
    land.takes(&order).unwrap();
    assert_eq!(land.sounds(at(2)), Some(order_id(&emergency)));
}

#[test]
fn nobody_prefers_what_is_above_their_own_priority() {
    let mut land = Land::new();
    let normal = Signer::new(51);
    let grant = grant(&normal, &["vn/01/00004"], &[Kind::Broadcast], Priority::Normal, 9);
    land.takes(&land.country.province.grants(grant)).unwrap();
    let item = |by: &Signer| by.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Priority, 0, 9)));
    let [older, newer] = [item(&land.country.nation), item(&land.country.province)];
    for signed in [&older, &newer] {
        land.takes(signed).unwrap();
    }
    let prefer = Body::Prefer(Prefer { broadcasts: vec![order_id(&newer)] });
    land.takes(&normal.sign(&["vn/01/00004"], prefer)).unwrap();
    assert_eq!(land.sounds(at(2)), Some(order_id(&older)));
}

#[test]
fn a_book_rebuilt_from_what_is_in_force_prefers_the_same() {
    let mut land = Land::new();
    let item = |by: &Signer| by.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Priority, 0, 9)));
    let [older, newer] = [item(&land.country.nation), item(&land.country.province)];
    let prefer = Body::Prefer(Prefer { broadcasts: vec![order_id(&newer)] });
    let prefer = land.country.commune.sign(&["vn/01/00004"], prefer);
    for signed in [&older, &newer, &prefer] {
        land.takes(signed).unwrap();
    }
    let mut rebuilt = Land::new();
    for signed in land.book.in_force(Some(NOW)) {
        rebuilt.takes(&signed).unwrap();
    }
    assert_eq!(rebuilt.sounds(at(2)), Some(order_id(&newer)));
}

#[test]
fn whom_a_key_placed_before_its_lock_stands_where_it_was_placed_and_whom_it_places_later_does_not() {
    let mut land = Land::new();
    let place = || {
        let placement =
            Placement { node: fresh_id(), area: area("vn/01/00004"), name: "Cột 1".into(), parents: Vec::new() };
        Body::Placement(placement)
    };
    // A minute before the lock, and in the same µs.
    let (by, then) = (&land.country.province, NOW + -60 * SECOND);
    let before = Order::new(fresh_id(), by.id(), 1, then, vec![area("vn/01/00004")], place());
    let before = sign(&before, &by.key);
    let later = land.country.province.sign(&["vn/01/00004"], place());
    let stands = |land: &Land, signed: &proto::Signed| {
        land.country.authorities.check(signed, Some(NOW)).map(|_| ()).map_err(|refusal| refusal.code)
    };
    assert_eq!((stands(&land, &before), stands(&land, &later)), (Ok(()), Ok(())));
    let key = land.country.province.id();
    let lock = land.locks(|country| &country.nation, &["vn/01"], key).unwrap();
    assert_eq!((stands(&land, &before), stands(&land, &later)), (Ok(()), Err("order.locked")));
    let spoken = land.country.province.sign(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 9)));
    assert_eq!(stands(&land, &spoken), Err("order.locked"));
    // Released: still so.
    let release = land.country.root.sign(&["vn"], Body::Release(Release { lock }));
    land.takes(&release).unwrap();
    assert_eq!((stands(&land, &before), stands(&land, &later)), (Ok(()), Err("order.locked")));
    // A revocation is another thing.
    let revoke = land.country.root.sign(&["vn/01"], Body::Revoke(Revoke { key, epoch: 3 }));
    land.takes(&revoke).unwrap();
    assert_eq!(stands(&land, &before), Err("order.revoked"));
}

#[test]
fn a_key_that_is_never_to_sign_alone_says_nothing_alone_and_is_a_second_like_any_other() {
    let mut land = Land::new();
    let [a, pocket, other] = [21, 22, 23].map(Signer::new);
    let beside = |key: &Signer| Grant {
        alone_from: Grant::NEVER_ALONE,
        ..grant(key, &["vn"], &[Kind::Broadcast, Kind::Hush], Priority::Emergency, 11)
    };
    for signed in [careful(&a), beside(&pocket), beside(&other)].map(|grant| land.country.root.grants(grant)) {
        land.takes(&signed).unwrap();
    }
    for body in [
        emergency(),
        Body::Broadcast(bulletin(Priority::Normal, 0, 5)),
        hush(Priority::Emergency, at(5)),
        Body::Lock(Lock { key: a.id() }),
    ] {
        assert_eq!(code(land.takes(&pocket.sign(&["vn"], body))), "order.second");
    }
    assert!(land.takes(&also_signed_by(a.sign(&["vn"], emergency()), &[&pocket])).is_ok());
    assert!(land.takes(&also_signed_by(pocket.sign(&["vn"], emergency()), &[&other])).is_ok());
}
