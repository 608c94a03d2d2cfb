use crate::broadcast::fixtures::*;
use crate::broadcast::*;
use crate::time::{Civil, SECOND};
use uuid::Uuid;

const COMMUNE: &str = "vn/01/00004";

struct Air {
    country: Country,
    book: Book,
}

impl Air {
    fn new() -> Self {
        Self { country: Country::new(), book: Book::new() }
    }

    /// By the nation, for `areas`.
    fn says(&mut self, areas: &[&str], body: Body) -> Uuid {
        let signed = self.country.nation.sign(areas, body);
        self.country.take(&mut self.book, NOW, &signed).unwrap();
        order_id(&signed)
    }

    fn airs(&mut self, broadcast: Broadcast) -> Uuid {
        self.says(&["vn/01"], Body::Broadcast(broadcast))
    }

    fn choice(&self, now: Civil) -> Choice {
        choose(&self.book, &area(COMMUNE), Some(now))
    }

    fn sounds(&self, now: Civil) -> Option<Uuid> {
        self.choice(now).broadcast
    }
}

#[test]
fn nothing_on_the_air_is_silence_without_a_hush_or_a_next_instant() {
    assert_eq!(Air::new().choice(NOW), Choice { broadcast: None, hushed: false, next: None });
}

#[test]
fn a_broadcast_sounds_from_its_start_until_its_last_sound_is_out() {
    let mut air = Air::new();
    let id = air.airs(bulletin(Priority::Normal, 5, 10));
    assert_eq!(air.choice(NOW), Choice { broadcast: None, hushed: false, next: Some(at(5)) });
    assert_eq!(air.choice(at(5)), Choice { broadcast: Some(id), hushed: false, next: Some(at(10) + SECOND) });
    assert_eq!(air.sounds(at(10) + SECOND - 1), Some(id));
    assert_eq!(air.choice(at(10) + SECOND), Choice { broadcast: None, hushed: false, next: None });
}

#[test]
fn an_emergency_with_a_tone_begins_at_t0() {
    let mut air = Air::new();
    let mut emergency = bulletin(Priority::Emergency, 2, 10);
    emergency.tone = Some(Tone { at: at(1), which: 1, duration: 3 * SECOND });
    let id = air.airs(emergency);
    assert_eq!(air.choice(NOW).next, Some(at(1)));
    assert_eq!(air.sounds(at(1)), Some(id));
}

#[test]
fn emergency_goes_before_priority_and_priority_before_normal() {
    let mut air = Air::new();
    let normal = air.airs(bulletin(Priority::Normal, 0, 60));
    let emergency = air.airs(bulletin(Priority::Emergency, 20, 30));
    let inserted = air.airs(bulletin(Priority::Priority, 10, 40));
    let heard = [5, 15, 25, 35, 45].map(|minute| air.sounds(at(minute)));
    assert_eq!(heard, [normal, inserted, emergency, inserted, normal].map(Some));
}

#[test]
fn what_is_real_goes_before_an_exercise_and_that_before_a_test_of_the_same_priority() {
    let of = |purpose, from, until| Broadcast { purpose, ..bulletin(Priority::Emergency, from, until) };
    let mut air = Air::new();
    let test = air.airs(said(of(Purpose::Test, 0, 60)));
    let exercise = air.airs(said(of(Purpose::Exercise, 10, 50)));
    let real = air.airs(of(Purpose::Real, 20, 30));
    let heard = [5, 15, 25, 35, 55].map(|minute| air.sounds(at(minute)));
    assert_eq!(heard, [test, exercise, real, exercise, test].map(Some));
    // Without trusted time an exercise is not worth waking anybody.
    assert_eq!(choose(&air.book, &area(COMMUNE), None).broadcast, Some(real));
    // Whatever it says, it takes the place of nothing real.
    let pushes = Broadcast { supersedes: Some(real), ..of(Purpose::Exercise, 20, 30) };
    air.airs(said(pushes));
    assert_eq!(air.sounds(at(25)), Some(real));
}

fn said(broadcast: Broadcast) -> Broadcast {
    let which = broadcast.purpose.said_by().unwrap();
    let tone = Some(Tone { at: broadcast.from, which, duration: 3 * SECOND });
    let anchor = broadcast.from + 3 * SECOND - broadcast.delay;
    let alike = |rendition: &crate::track::Info| crate::track::Info { anchor, ..rendition.clone() };
    Broadcast { tone, renditions: broadcast.renditions.iter().map(alike).collect(), ..broadcast }
}

#[test]
fn within_a_class_the_older_goes_on_unless_the_newer_supersedes_it() {
    for priority in [Priority::Normal, Priority::Priority, Priority::Emergency] {
        let mut air = Air::new();
        let older = air.airs(bulletin(priority, 0, 60));
        air.airs(bulletin(priority, 10, 60));
        assert_eq!(air.sounds(at(20)), Some(older));
        let mut correction = bulletin(priority, 30, 40);
        correction.supersedes = Some(older);
        let correction = air.airs(correction);
        assert_eq!(air.sounds(at(20)), Some(older));
        assert_ne!(air.sounds(at(30)), Some(older));
        let mut again = bulletin(priority, 30, 40);
        again.supersedes = Some(correction);
        air.airs(again);
        assert_ne!(air.sounds(at(35)), Some(older), "what supersedes counts though it is superseded itself");
    }
}

#[test]
fn only_the_newer_of_the_same_class_supersedes() {
    let mut air = Air::new();
    let mut older = air.country.nation.order(&["vn/01"], Body::Broadcast(bulletin(Priority::Normal, 0, 60)));
    let newer = air.airs(bulletin(Priority::Normal, 0, 60));
    if let Body::Broadcast(body) = &mut older.body {
        body.supersedes = Some(newer);
    }
    let signed = sign(&older, &air.country.nation.key);
    air.country.take(&mut air.book, NOW, &signed).unwrap();
    assert_eq!(air.sounds(at(1)), Some(older.id));
    let mut upstart = bulletin(Priority::Priority, 10, 20);
    upstart.supersedes = Some(older.id);
    let upstart = air.airs(upstart);
    assert_eq!(air.sounds(at(15)), Some(upstart));
    assert_eq!(air.sounds(at(25)), Some(older.id));
    let mut mutual = bulletin(Priority::Normal, 30, 40);
    mutual.supersedes = Some(older.id);
    let signed = sign(&older.revise(9, vec![rendition(at(1))]), &air.country.nation.key);
    air.country.take(&mut air.book, NOW, &signed).unwrap();
    air.airs(mutual);
    assert_eq!(air.sounds(at(35)), Some(newer), "two that name each other do not silence one another");
}

#[test]
fn nobody_pushes_aside_an_emergency_for_wider_areas_than_his_own() {
    let mut air = Air::new();
    let national = air.says(&["vn"], Body::Broadcast(bulletin(Priority::Emergency, 0, 60)));
    let mut local = bulletin(Priority::Emergency, 0, 60);
    local.supersedes = Some(national);
    let signed = air.country.province.sign(&["vn/01"], Body::Broadcast(local));
    air.country.take(&mut air.book, NOW, &signed).unwrap();
    assert_eq!(air.sounds(at(1)), Some(national));
    // Below emergencies the nearer may: ties are decided by the commune.
    let priority = air.says(&["vn/02"], Body::Broadcast(bulletin(Priority::Priority, 0, 60)));
    let mut local = bulletin(Priority::Priority, 0, 60);
    local.supersedes = Some(priority);
    let signed = air.country.neighbour.sign(&["vn/02/1"], Body::Broadcast(local));
    air.country.take(&mut air.book, NOW, &signed).unwrap();
    air.country.take(&mut air.book, NOW, &air.country.nation.sign(&["vn"], cancel(national, NOW))).unwrap();
    assert_eq!(choose(&air.book, &area("vn/02/1"), Some(at(1))).broadcast, Some(order_id(&signed)));
    assert_eq!(choose(&air.book, &area("vn/02/2"), Some(at(1))).broadcast, Some(priority));
}

#[test]
fn a_broadcast_sounds_only_where_its_area_contains_the_node() {
    let mut air = Air::new();
    let id = air.says(&[COMMUNE, "vn/02"], Body::Broadcast(bulletin(Priority::Normal, 0, 60)));
    let heard = |place: &str| choose(&air.book, &area(place), Some(at(1))).broadcast;
    assert_eq!((heard(COMMUNE), heard("vn/02/3")), (Some(id), Some(id)));
    assert_eq!((heard("vn/01"), heard("vn/01/00005"), heard("vn/021")), (None, None, None));
    assert_eq!(air.book.live(&area("vn/01")).count(), 1, "a relay of the province passes it on");
}

#[test]
fn a_hush_silences_its_priority_and_those_below_between_its_instants() {
    let mut air = Air::new();
    let normal = air.airs(bulletin(Priority::Normal, 0, 60));
    let priority = air.airs(bulletin(Priority::Priority, 20, 30));
    let mut order = air.country.nation.order(&["vn"], hush(Priority::Normal, at(40)));
    order.issued = NOW + 30 * SECOND;
    let signed = sign(&order, &air.country.nation.key);
    air.country.take(&mut air.book, NOW, &signed).unwrap();
    assert_eq!(air.choice(NOW), Choice { broadcast: Some(normal), hushed: false, next: Some(order.issued) });
    assert_eq!(air.choice(at(1)), Choice { broadcast: None, hushed: true, next: Some(at(20)) });
    assert_eq!(air.choice(at(25)), Choice { broadcast: Some(priority), hushed: false, next: Some(at(30) + SECOND) });
    assert_eq!(air.choice(at(35)), Choice { broadcast: None, hushed: true, next: Some(at(40)) });
    assert_eq!(air.sounds(at(40)), Some(normal));
    air.says(&["vn/01"], hush(Priority::Emergency, at(35)));
    assert_eq!(air.sounds(at(25)), None);
}

#[test]
fn a_hush_spares_other_areas_and_those_it_exempts() {
    let mut air = Air::new();
    air.says(&["vn"], Body::Broadcast(bulletin(Priority::Normal, 0, 60)));
    let exempt = areas_of(&[COMMUNE]);
    air.says(&["vn/01"], Body::Hush(Hush { until: at(60), up_to: Priority::Emergency, exempt }));
    let hushed = |place: &str| choose(&air.book, &area(place), Some(at(1))).hushed;
    assert!(hushed("vn/01") && hushed("vn/01/00005"));
    assert!(!hushed(COMMUNE) && !hushed("vn/01/00004/1") && !hushed("vn/02"));
}

#[test]
fn a_silence_that_nobody_breaks_is_not_called_hushed() {
    let mut air = Air::new();
    air.says(&["vn"], hush(Priority::Emergency, at(60)));
    assert_eq!(air.choice(at(1)), Choice { broadcast: None, hushed: false, next: Some(at(60)) });
}

#[test]
fn without_trusted_time_emergencies_alone_sound_and_a_cancel_counts_at_once() {
    let mut air = Air::new();
    air.airs(bulletin(Priority::Priority, 0, 60));
    let silence = Choice { broadcast: None, hushed: false, next: None };
    assert_eq!(choose(&air.book, &area(COMMUNE), None), silence);
    let id = air.airs(bulletin(Priority::Emergency, 30, 60));
    assert_eq!(choose(&air.book, &area(COMMUNE), None).broadcast, Some(id));
    air.says(&["vn"], cancel(id, at(59)));
    assert_eq!(choose(&air.book, &area(COMMUNE), None), silence);
}

#[test]
fn the_next_instant_is_the_next_change() {
    let mut air = Air::new();
    for (priority, from, until) in
        [(Priority::Normal, 0, 30), (Priority::Priority, 5, 9), (Priority::Emergency, 7, 8), (Priority::Normal, 2, 40)]
    {
        air.airs(bulletin(priority, from, until));
    }
    air.says(&["vn"], hush(Priority::Normal, at(12)));
    let mut now = NOW;
    let mut steps = 0;
    while let Some(next) = air.choice(now).next {
        let before = air.choice(now);
        assert!(next > now);
        for instant in [now + (next - now) / 2, next - 1] {
            assert_eq!(air.choice(instant), before);
        }
        now = next;
        steps += 1;
    }
    assert_eq!(steps, 8);
}

#[test]
fn bulletins_back_to_back_leave_no_gap_and_each_begins_when_the_one_before_is_out() {
    let mut air = Air::new();
    let ids: Vec<Uuid> = (0..100).map(|minute| air.airs(bulletin(Priority::Normal, minute, minute + 1))).collect();
    for (minute, id) in (0..).zip(&ids) {
        assert_eq!(air.sounds(at(minute) + SECOND), Some(*id));
        assert_eq!(air.sounds(at(minute + 1) + SECOND - 1), Some(*id));
    }
    assert_eq!(air.sounds(at(100) + SECOND), None);
}

#[test]
fn where_all_sounds_later_it_lasts_as_much_later_but_a_stop_is_a_stop() {
    let mut air = Air::new();
    let late = 10 * SECOND;
    let sounds = |air: &Air, now: Civil| choose_late(&air.book, &area(COMMUNE), Some(now), late);
    let normal = air.airs(bulletin(Priority::Normal, 0, 5));
    let urgent = air.airs(bulletin(Priority::Emergency, 2, 3));
    assert_eq!(sounds(&air, at(0)).next, Some(at(0) + late));
    assert_eq!([at(0) + late, at(2) + late - 1].map(|now| sounds(&air, now).broadcast), [Some(normal); 2]);
    assert_eq!(sounds(&air, at(2) + late).broadcast, Some(urgent));
    assert_eq!(sounds(&air, at(3) + SECOND + late).broadcast, Some(normal), "its last word is out");
    air.says(&["vn/01"], cancel(urgent, at(2) + 30 * SECOND));
    assert_eq!(sounds(&air, at(2) + 30 * SECOND).broadcast, Some(normal));
    assert_eq!(sounds(&air, at(5) + SECOND + late - 1).broadcast, Some(normal));
    assert_eq!(sounds(&air, at(5) + SECOND + late).broadcast, None);
    air.says(&["vn/01"], hush(Priority::Normal, at(4)));
    assert!(sounds(&air, at(3)).hushed, "from its issue on");
}
