use crate::broadcast::fixtures::*;
use crate::broadcast::*;
use crate::proto;
use crate::time::{Civil, SECOND};
use uuid::Uuid;

const COMMUNE: &str = "vn/01/00004";

struct Desk {
    country: Country,
    book: Book,
}

impl Desk {
    fn new() -> Self {
        Self { country: Country::new(), book: Book::new() }
    }

    fn take(&mut self, now: Civil, signed: &proto::Signed) -> Result<Change, &'static str> {
        self.country.take(&mut self.book, now, signed).map_err(|refusal| refusal.code)
    }

    fn airs(&mut self, broadcast: Broadcast) -> Order {
        let order = self.country.province.order(&["vn/01"], Body::Broadcast(broadcast));
        let signed = sign(&order, &self.country.province.key);
        assert_eq!(self.take(NOW, &signed), Ok(Change::Broadcast { id: order.id, replaced: false }));
        order
    }

    fn by_province(&mut self, order: &Order) -> Result<Change, &'static str> {
        let signed = sign(order, &self.country.province.key);
        self.take(NOW, &signed)
    }

    fn cancels(&mut self, id: Uuid, when: Civil) -> Result<Change, &'static str> {
        let order = self.country.province.order(&["vn/01"], cancel(id, when));
        self.by_province(&order)
    }

    fn sounds(&self, now: Civil) -> Option<Uuid> {
        choose(&self.book, &area(COMMUNE), Some(now)).broadcast
    }
}

#[test]
fn the_very_same_bytes_are_a_repetition_and_the_same_id_with_others_a_replay() {
    let mut desk = Desk::new();
    let order = desk.airs(bulletin(Priority::Normal, 0, 10));
    assert_eq!(desk.by_province(&order), Err("order.repeated"));
    let mut other = order.clone();
    other.number += 1;
    assert_eq!(desk.by_province(&other), Err("order.replayed"));
}

#[test]
fn a_higher_revision_replaces_the_renditions_and_a_lower_one_does_not() {
    let mut desk = Desk::new();
    let first = desk.airs(bulletin(Priority::Normal, 0, 10));
    desk.book.set_state(first.id, State::Sounding);
    let second = first.revise(50, vec![rendition(at(2))]);
    assert_eq!(desk.by_province(&second), Ok(Change::Broadcast { id: first.id, replaced: true }));
    let entry = desk.book.get(first.id).unwrap();
    assert_eq!((entry.broadcast.revision, entry.state), (1, State::Sounding));
    assert_eq!(entry.broadcast.renditions[0].anchor, at(2));
    assert_eq!(desk.by_province(&first), Err("order.replayed"));
    let mut elsewhere = second.revise(51, vec![rendition(at(3))]);
    elsewhere.areas = areas_of(&["vn/01/2"]);
    assert_eq!(desk.by_province(&elsewhere), Err("order.replayed"));
}

#[test]
fn a_revision_makes_an_ended_broadcast_known_again_but_not_a_cancelled_one() {
    let mut desk = Desk::new();
    let order = desk.airs(bulletin(Priority::Normal, 0, 10));
    desk.book.set_state(order.id, State::Ended);
    assert_eq!(desk.sounds(at(1)), None);
    let next = order.revise(90, vec![rendition(at(1))]);
    desk.by_province(&next).unwrap();
    assert_eq!(desk.sounds(at(1)), Some(order.id));
    desk.cancels(order.id, at(0)).unwrap();
    assert_eq!(desk.by_province(&next.revise(99, vec![rendition(at(2))])), Ok(Change::Cancelled { id: order.id }));
    assert_eq!(desk.sounds(at(2)), None);
    desk.book.set_state(order.id, State::Known);
    assert_eq!(desk.book.get(order.id).unwrap().state, State::Cancelled);
}

#[test]
fn the_end_of_a_live_broadcast_holds_also_where_it_comes_late_or_first() {
    let mut country = Country::new();
    let order = country.province.order(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 600)));
    // 250 packets of 240 ms: one minute.
    let last = order.finish(order.number + 1, 250);
    let Body::Broadcast(end) = &last.body else { panic!("{last:?}") };
    assert_eq!((end.until, end.renditions[0].packets, end.revision), (at(1), Some(250), 1));
    assert_eq!((last.id, last.issued, last.expires), (order.id, order.issued, order.expires));
    let (live, last) = (sign(&order, &country.province.key), sign(&last, &country.province.key));

    // In time: it goes on to its end, and no further.
    let mut book = Book::new();
    country.take(&mut book, NOW, &live).unwrap();
    assert_eq!(country.take(&mut book, NOW, &last), Ok(Change::Broadcast { id: order.id, replaced: true }));
    let sounds = |book: &Book, now| choose(book, &area(COMMUNE), Some(now)).broadcast;
    assert_eq!((sounds(&book, at(1)), sounds(&book, at(1) + SECOND)), (Some(order.id), None));

    // Missed, and told at a join an hour later.
    let mut late = Book::new();
    country.take(&mut late, NOW, &live).unwrap();
    late.set_state(order.id, State::Sounding);
    book.expire(at(60));
    let told = book.in_force(Some(at(60)));
    assert_eq!(told, std::slice::from_ref(&last));
    assert_eq!(country.take(&mut late, at(60), &told[0]), Ok(Change::Broadcast { id: order.id, replaced: true }));
    assert_eq!(late.expire(at(60)), [order.id]);
    assert_eq!(sounds(&late, at(60)), None);

    // The end alone, and then the beginning: repaired, or replayed by somebody.
    let mut first = Book::new();
    assert_eq!(country.take(&mut first, at(60), &last), Ok(Change::Other));
    assert_eq!(country.take(&mut first, at(60), &live).unwrap_err().code, "order.replayed");
    first.expire(at(300));
    assert_eq!(country.take(&mut first, at(300), &live).unwrap_err().code, "order.replayed");
    assert_eq!(sounds(&first, at(300)), None);
}

#[test]
fn what_is_over_is_refused() {
    let mut desk = Desk::new();
    let over = bulletin(Priority::Normal, -10, 0);
    let order = desk.country.province.order(&["vn/01"], Body::Broadcast(over));
    let signed = sign(&order, &desk.country.province.key);
    assert!(desk.take(NOW + SECOND - 1, &signed).is_ok(), "its last sound is still on its way");
    let mut desk = Desk::new();
    assert_eq!(desk.take(NOW + SECOND, &signed), Err("order.expired"));
    assert_eq!(desk.take(order.expires, &signed), Err("order.expired"));
    // The book asks by itself, whatever the check before it let through.
    let vouched = desk.country.authorities.check(&signed, Some(NOW)).unwrap();
    assert_eq!(desk.book.handle(Some(order.expires), &vouched, &signed).unwrap_err().code, "order.expired");
}

#[test]
fn a_cancel_takes_effect_at_its_instant_and_can_only_be_brought_forward() {
    let mut desk = Desk::new();
    let id = desk.airs(bulletin(Priority::Normal, 0, 10)).id;
    assert_eq!(desk.cancels(id, at(5)), Ok(Change::Cancelled { id }));
    assert_eq!(desk.book.get(id).unwrap().state, State::Known);
    assert_eq!((desk.sounds(at(5) - 1), desk.sounds(at(5))), (Some(id), None));
    assert_eq!(desk.cancels(id, at(6)), Err("order.stale"));
    assert_eq!(desk.cancels(id, at(3)), Ok(Change::Cancelled { id }));
    assert_eq!((desk.sounds(at(3) - 1), desk.sounds(at(3))), (Some(id), None));
    assert_eq!(desk.book.expire(at(3)), Vec::<Uuid>::new());
    assert_eq!(desk.book.get(id).unwrap().state, State::Cancelled);
    assert_eq!(desk.book.live(&area("vn")).count(), 0);
}

#[test]
fn a_cancel_that_comes_first_stops_its_broadcast_when_that_comes() {
    let mut desk = Desk::new();
    let order = desk.country.province.order(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 10)));
    assert_eq!(desk.cancels(order.id, at(0)), Ok(Change::Cancelled { id: order.id }));
    assert_eq!(desk.by_province(&order), Ok(Change::Cancelled { id: order.id }));
    assert_eq!(desk.sounds(at(1)), None);
    desk.book.expire(at(1));
    assert_eq!(desk.sounds(at(1)), None);
}

#[test]
fn a_cancel_reaches_no_broadcast_wider_or_higher_than_its_authority() {
    let mut desk = Desk::new();
    let id = desk.airs(bulletin(Priority::Normal, 0, 10)).id;
    let narrow = desk.country.commune.sign(&[COMMUNE], cancel(id, at(0)));
    assert_eq!(desk.take(NOW, &narrow), Err("order.scope"));
    assert_eq!(desk.sounds(at(1)), Some(id));
    // Within the area, but an emergency: the commune's grant ends at priority.
    let order = desk.country.nation.order(&[COMMUNE], Body::Broadcast(bulletin(Priority::Emergency, 0, 10)));
    let emergency = sign(&order, &desk.country.nation.key);
    desk.take(NOW, &emergency).unwrap();
    let low = desk.country.commune.sign(&[COMMUNE], cancel(order.id, at(0)));
    assert_eq!(desk.take(NOW, &low), Err("order.scope"));
    assert_eq!(desk.sounds(at(1)), Some(order.id));
    assert!(desk.cancels(order.id, at(0)).is_ok(), "the province stands over its commune, emergencies included");
    assert_eq!(desk.sounds(at(1)), Some(id));
}

#[test]
fn a_tombstone_that_does_not_reach_lets_the_broadcast_pass_and_does_not_shadow_one_that_does() {
    let mut desk = Desk::new();
    let order = desk.country.province.order(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 10)));
    let narrow = desk.country.commune.sign(&[COMMUNE], cancel(order.id, at(0)));
    assert_eq!(desk.take(NOW, &narrow), Ok(Change::Cancelled { id: order.id }));
    assert_eq!(desk.by_province(&order), Ok(Change::Broadcast { id: order.id, replaced: false }));
    assert_eq!(desk.sounds(at(1)), Some(order.id));
    assert!(desk.cancels(order.id, at(1)).is_ok());
    assert_eq!(desk.sounds(at(1)), None);
}

#[test]
fn a_broadcast_that_takes_anothers_id_gives_way_to_the_one_nearer_the_root() {
    for commune_first in [true, false] {
        let mut desk = Desk::new();
        let real = desk.country.nation.order(&["vn"], Body::Broadcast(bulletin(Priority::Emergency, 0, 10)));
        let mut fake = desk.country.commune.order(&[COMMUNE], Body::Broadcast(bulletin(Priority::Normal, 0, 10)));
        fake.id = real.id;
        let mut both = [sign(&real, &desk.country.nation.key), sign(&fake, &desk.country.commune.key)];
        if commune_first {
            both.reverse();
        }
        let results = both.map(|signed| desk.take(NOW, &signed));
        assert_eq!(results[1].is_ok(), commune_first);
        assert_eq!(desk.book.get(real.id).unwrap().authority, desk.country.nation.id());
        assert_eq!(choose(&desk.book, &area("vn/02"), Some(at(1))).broadcast, Some(real.id));
    }
}

#[test]
fn the_newest_hush_of_an_authority_for_the_same_areas_is_in_force_and_an_empty_one_lifts() {
    let mut desk = Desk::new();
    let older = desk.country.province.order(&["vn/01"], hush(Priority::Normal, at(30)));
    let newer = desk.country.province.order(&["vn/01"], hush(Priority::Normal, NOW));
    let in_force = |desk: &Desk| desk.book.hushes(&area(COMMUNE), at(1)).count();
    assert_eq!(desk.by_province(&older), Ok(Change::Hushed));
    assert_eq!(in_force(&desk), 1);
    assert_eq!(desk.by_province(&older), Err("order.repeated"));
    assert_eq!(desk.by_province(&newer), Ok(Change::Hushed));
    assert_eq!(in_force(&desk), 0);
    assert_eq!(desk.by_province(&older), Err("order.stale"));
    desk.book.expire(at(20));
    assert_eq!(desk.by_province(&older), Err("order.stale"), "a lifted hush came back");
}

#[test]
fn a_tick_counts_once_per_log() {
    let mut desk = Desk::new();
    let log = fresh_id();
    let tick = |desk: &Desk, log| {
        let body = Body::Tick(Tick { time: NOW, log, head: 1, epoch: 0 });
        desk.country.province.sign(&["vn/01"], body)
    };
    let (first, second, elsewhere) = (tick(&desk, log), tick(&desk, log), tick(&desk, fresh_id()));
    assert_eq!(desk.take(NOW, &second), Ok(Change::Other));
    assert_eq!(desk.take(NOW, &second), Err("order.repeated"));
    assert_eq!(desk.take(NOW, &first), Err("order.replayed"));
    assert_eq!(desk.take(NOW, &elsewhere), Ok(Change::Other));
}

#[test]
fn expiry_ends_what_is_over_and_forgets_what_has_expired() {
    let mut desk = Desk::new();
    let order = desk.airs(bulletin(Priority::Normal, 0, 10));
    assert_eq!(desk.book.expire(at(10)), Vec::<Uuid>::new(), "its delay still runs");
    assert_eq!(desk.book.expire(at(10) + SECOND), [order.id]);
    assert_eq!(desk.book.expire(at(10) + SECOND), Vec::<Uuid>::new(), "it ends once");
    assert_eq!(desk.book.get(order.id).unwrap().state, State::Ended);
    desk.book.expire(order.expires);
    assert!(desk.book.get(order.id).is_none());
    let stop = desk.country.province.order(&["vn/01"], cancel(fresh_id(), NOW));
    desk.by_province(&stop).unwrap();
    assert_eq!(desk.book.in_force(Some(at(1))).len(), 1);
    desk.book.expire(stop.expires);
    assert!(desk.book.in_force(None).is_empty());
}

#[test]
fn a_cancel_outlasts_its_own_expiry_while_its_broadcast_could_still_be_replayed() {
    let mut desk = Desk::new();
    let order = desk.airs(bulletin(Priority::Normal, 0, 60));
    let stop = desk.country.province.order(&["vn/01"], cancel(order.id, at(0))).until(at(5));
    desk.by_province(&stop).unwrap();
    desk.book.expire(at(20));
    let signed = sign(&order, &desk.country.province.key);
    assert_eq!(desk.take(at(20), &signed), Err("order.repeated"));
    assert_eq!(desk.sounds(at(20)), None);
    let rebuilt = rebuild(&desk, Some(at(20)));
    assert_eq!(choose(&rebuilt.0, &area(COMMUNE), Some(at(20))).broadcast, None);
    assert!(rebuilt.1.contains(&sign(&stop, &desk.country.province.key)));
}

/// A book as after a restart, and the journal that it was rebuilt from.
fn rebuild(desk: &Desk, now: Option<Civil>) -> (Book, Vec<proto::Signed>) {
    let journal = desk.book.in_force(now);
    let mut book = Book::new();
    for signed in &journal {
        let order = desk.country.authorities.recall(signed).unwrap();
        book.handle(None, &order, signed).unwrap();
    }
    now.map(|now| book.expire(now));
    (book, journal)
}

#[test]
fn what_is_in_force_rebuilds_the_book() {
    let mut desk = Desk::new();
    let kept = desk.airs(bulletin(Priority::Normal, 0, 10));
    let stopped = desk.airs(bulletin(Priority::Priority, 0, 10));
    let stops_later = desk.airs(bulletin(Priority::Priority, 0, 20));
    let over = desk.airs(bulletin(Priority::Emergency, 0, 1));
    desk.cancels(stopped.id, at(1)).unwrap();
    desk.cancels(stops_later.id, at(4)).unwrap();
    let quiet = desk.country.province.order(&["vn/01"], hush(Priority::Normal, at(6)));
    desk.by_province(&quiet).unwrap();
    let revised = kept.revise(70, vec![rendition(at(1))]);
    desk.by_province(&revised).unwrap();
    let (mut book, journal) = rebuild(&desk, Some(at(2)));
    let ids: Vec<Uuid> = journal.iter().map(order_id).collect();
    assert_eq!(ids[3..], [kept.id, stops_later.id], "silencing orders first, then each oldest first: {ids:?}");
    assert!(!ids.contains(&stopped.id) && !ids.contains(&over.id));
    for minute in 2..12 {
        let here = area(COMMUNE);
        assert_eq!(choose(&book, &here, Some(at(minute))), choose(&desk.book, &here, Some(at(minute))));
    }
    // What was cancelled stays so, though only its tombstone was kept.
    let signed = sign(&stopped, &desk.country.province.key);
    let order = desk.country.authorities.recall(&signed).unwrap();
    assert_eq!(book.handle(Some(at(2)), &order, &signed), Ok(Change::Cancelled { id: stopped.id }));
}

#[test]
fn a_full_book_forgets_what_is_over_and_refuses_rather_than_drop_what_is_to_come() {
    let mut desk = Desk::new();
    let signers: Vec<Signer> = (60..64).map(Signer::new).collect();
    for signer in &signers {
        let grant = grant(signer, &["vn/01"], &[Kind::Broadcast], Priority::Emergency, 5);
        let signed = desk.country.province.grants(grant);
        desk.take(NOW, &signed).unwrap();
    }
    let vouch = |desk: &Desk, signer: &Signer, priority| {
        let signed = signer.sign(&["vn/01"], Body::Broadcast(bulletin(priority, 1, 5)));
        // Signatures are not what is tested here, and 4,096 of them take a while.
        (desk.country.authorities.check(&signed, Some(NOW)).unwrap(), signed)
    };
    let (model, signed) = vouch(&desk, &signers[0], Priority::Normal);
    let mut last = None;
    for count in 0..1_024 {
        let mut order = model.clone();
        order.set_id(fresh_id());
        assert!(desk.book.handle(Some(NOW), &order, &signed).is_ok(), "{count}");
        last = Some(order.id);
    }
    let (one_more, signed_more) = vouch(&desk, &signers[0], Priority::Emergency);
    let full = desk.book.handle(Some(NOW), &one_more, &signed_more).unwrap_err();
    assert_eq!(full.code, "order.full", "one authority fills no more than its part");
    for signer in &signers[1..] {
        let (model, signed) = vouch(&desk, signer, Priority::Normal);
        for _ in 0..1_024 {
            let mut order = model.clone();
            order.set_id(fresh_id());
            let _ = desk.book.handle(Some(NOW), &order, &signed);
        }
    }
    let (normal, signed) = (vouch(&desk, &desk.country.nation, Priority::Normal), ());
    let () = signed;
    assert_eq!(desk.book.handle(Some(NOW), &normal.0, &normal.1).unwrap_err().code, "order.full");
    let urgent = vouch(&desk, &desk.country.nation, Priority::Emergency);
    assert!(desk.book.handle(Some(NOW), &urgent.0, &urgent.1).is_ok(), "room is kept for emergencies");
    // One cancelled makes room for one more.
    desk.cancels(last.unwrap(), NOW).unwrap();
    assert!(desk.book.handle(Some(NOW), &one_more, &signed_more).is_ok());
}

#[test]
fn a_stop_all_from_above_finds_room_whatever_is_below() {
    let mut desk = Desk::new();
    let flood: Vec<Signer> = (70..75).map(Signer::new).collect();
    for signer in &flood {
        let grant = grant(signer, &["vn/01"], &[Kind::Hush], Priority::Emergency, 5);
        let signed = desk.country.province.grants(grant);
        desk.take(NOW, &signed).unwrap();
    }
    let mut refused = 0;
    for count in 0..70 {
        for signer in &flood {
            let place = format!("vn/01/{count:05}");
            let signed = signer.sign(&[&place], hush(Priority::Normal, at(60)));
            refused += usize::from(desk.take(NOW, &signed) == Err("order.full"));
        }
    }
    assert_eq!(refused, 5 * 70 - 256);
    let stop_all = desk.country.nation.sign(&["vn"], hush(Priority::Emergency, at(60)));
    assert_eq!(desk.take(NOW, &stop_all), Ok(Change::Hushed));
    assert_eq!(desk.book.hushes(&area("vn/02"), NOW).count(), 1);
}

#[test]
fn tombstones_are_bounded_but_a_known_broadcast_can_always_be_cancelled() {
    let mut desk = Desk::new();
    let id = desk.airs(bulletin(Priority::Normal, 0, 10)).id;
    let signed = desk.country.province.sign(&["vn/01"], cancel(fresh_id(), NOW));
    let model = desk.country.authorities.check(&signed, Some(NOW)).unwrap();
    let mut results = Vec::new();
    for _ in 0..1_025 {
        let mut order = model.clone();
        order.set_id(fresh_id());
        results.push(desk.book.handle(Some(NOW), &order, &signed).map_err(|refusal| refusal.code));
    }
    assert_eq!(results.iter().filter(|result| **result == Err("order.full")).count(), 1);
    assert_eq!(desk.cancels(id, NOW), Ok(Change::Cancelled { id }));
    assert_eq!(desk.sounds(NOW), None);
}
