use crate::broadcast::fixtures::*;
use crate::broadcast::*;
use crate::time::{Civil, SECOND};
use crate::track;
use proptest::prelude::*;

fn order(body: Body) -> Order {
    Signer::new(1).order(&["vn/01"], body)
}

fn refused(order: &Order) -> String {
    let refusal = Order::decode(&order.encode()).unwrap_err();
    assert_eq!(refusal.code, "order.malformed");
    refusal.text
}

/// What decode says of a bulletin that `spoil` has changed.
fn spoilt(spoil: impl FnOnce(&mut Broadcast)) -> String {
    let mut broadcast = bulletin(Priority::Emergency, 0, 10);
    spoil(&mut broadcast);
    refused(&order(Body::Broadcast(broadcast)).until(at(11)))
}

#[test]
fn what_is_out_of_range_in_a_broadcast_is_refused_by_name() {
    assert!(spoilt(|b| b.until = b.from).contains("broadcast.until"));
    assert!(spoilt(|b| b.until = at(12)).contains("after expires"));
    assert!(spoilt(|b| b.from = Civil(5)).contains("broadcast.from"));
    assert!(spoilt(|b| b.delay = 0).contains("broadcast.delay"));
    assert!(spoilt(|b| b.delay = 60 * SECOND + 1).contains("broadcast.delay"));
    assert!(spoilt(|b| b.delay = i64::MIN).contains("broadcast.delay"));
    assert!(spoilt(|b| b.renditions.clear()).contains("renditions"));
    assert!(spoilt(|b| b.renditions = (0..5).map(|_| rendition(b.from)).collect()).contains("renditions"));
    assert!(spoilt(|b| b.renditions.push(rendition(b.from + 1))).contains("anchor"));
    assert!(spoilt(|b| b.renditions.push(b.renditions[0].clone())).contains("SSRC"));
    assert!(spoilt(|b| b.renditions[0].duration = 961).contains("duration"));
    assert!(spoilt(|b| b.title = "a".repeat(201)).contains("broadcast.title"));
    assert!(spoilt(|b| b.title = "two\nlines".into()).contains("control character"));
    assert!(spoilt(|b| b.title = "turned \u{202e} round".into()).contains("control character"));
    assert!(spoilt(|b| b.stored = true).contains("how many packets"));
    assert!(spoilt(|b| b.supersedes = Some(uuid::Uuid::from_u128(7))).contains("broadcast.supersedes"));
}

#[test]
fn a_tone_is_for_emergencies_and_ends_before_speech_begins() {
    let tone = |from: Civil| Some(Tone { at: from, which: 1, duration: 3 * SECOND });
    assert!(spoilt(|b| (b.priority, b.tone) = (Priority::Normal, tone(b.from))).contains("emergencies"));
    assert!(spoilt(|b| b.tone = tone(b.from)).contains("first words"));
    assert!(spoilt(|b| b.tone = tone(b.until)).contains("outlasts"));
    assert!(spoilt(|b| b.tone = Some(Tone { at: b.from, which: 0, duration: 1 })).contains("tone.which"));
    assert!(spoilt(|b| b.tone = Some(Tone { at: b.from, which: 1, duration: 0 })).contains("tone.duration"));
    assert!(Order::decode(&order(Body::Broadcast(sounding(1))).encode()).is_ok());
}

#[test]
fn what_is_not_real_names_the_words_that_say_so_and_what_is_real_does_not() {
    for priority in [Priority::Normal, Priority::Priority, Priority::Emergency] {
        for (purpose, which) in [(Purpose::Exercise, Tone::EXERCISE), (Purpose::Test, Tone::TEST)] {
            let said = |which| {
                Order::decode(&order(Body::Broadcast(Broadcast { priority, purpose, ..sounding(which) })).encode())
            };
            assert!(said(which).is_ok());
            for other in [1, Tone::EXERCISE, Tone::TEST, 4].into_iter().filter(|other| *other != which) {
                assert!(said(other).unwrap_err().text.contains("broadcast.purpose"), "{purpose:?} by {other}");
            }
        }
    }
    assert!(spoilt(|b| b.purpose = Purpose::Exercise).contains("broadcast.purpose"), "without a word");
    let cut = |b: &mut Broadcast| {
        *b = Broadcast { purpose: Purpose::Test, ..sounding(Tone::TEST) };
        b.tone = b.tone.map(|tone| Tone { duration: Tone::SAID - 1, ..tone });
    };
    assert!(spoilt(cut).contains("broadcast.purpose"), "words cut short");
    for which in [Tone::EXERCISE, Tone::TEST] {
        assert!(spoilt(|b| *b = sounding(which)).contains("purpose is real"), "a real one that is waved away");
    }
}

/// A bulletin whose tone is `which`, and that is in order otherwise.
fn sounding(which: u32) -> Broadcast {
    let mut broadcast = bulletin(Priority::Emergency, 0, 10);
    broadcast.tone = Some(Tone { at: broadcast.from, which, duration: 3 * SECOND });
    broadcast.renditions[0].anchor = broadcast.from + 3 * SECOND - broadcast.delay;
    broadcast
}

#[test]
fn no_order_makes_a_speaker_say_a_code_but_a_tone_of_a_later_version_passes() {
    for later in [4, 99, Tone::LOCAL - 1] {
        assert!(Order::decode(&order(Body::Broadcast(sounding(later))).encode()).is_ok(), "{later}");
    }
    // Not even a root.
    let country = Country::new();
    for code in [Tone::LOCAL, Tone::LOCAL + 42_719, Tone::LOCAL + 999_999, u32::MAX] {
        let signed = country.root.sign(&["vn"], Body::Broadcast(sounding(code)));
        for refusal in [country.authorities.check(&signed, Some(NOW)), country.authorities.recall(&signed)] {
            let refusal = refusal.unwrap_err();
            assert!(refusal.code == "order.malformed" && refusal.text.contains("below 2^24"), "{refusal:?}");
        }
    }
}

#[test]
fn an_order_lives_for_no_longer_than_its_kind_may() {
    let hush = order(hush(Priority::Normal, at(1)));
    assert!(Order::decode(&hush.encode()).is_ok());
    assert!(refused(&hush.clone().until(hush.issued)).contains("not after issued"));
    assert!(refused(&hush.clone().until(hush.issued + 31 * DAY + 1)).contains("at most 31"));
    let grant = order(Body::Grant(grant(&Signer::new(2), &["vn"], &[Kind::Tick], Priority::Normal, 20)));
    assert!(Order::decode(&grant.clone().until(grant.issued + 400 * DAY).encode()).is_ok());
    assert!(refused(&grant.clone().until(grant.issued + 400 * DAY + 1)).contains("at most 400"));
    assert!(refused(&grant.until(at(1))).contains("grant.until"));
}

#[test]
fn ids_areas_and_times_are_held_to_their_form() {
    let good = order(hush(Priority::Normal, at(1)));
    assert!(refused(&Order { id: uuid::Uuid::from_u128(1), ..good.clone() }).contains("id is not a UUIDv7"));
    assert!(refused(&Order { areas: vec![], ..good.clone() }).contains("areas has 0"));
    assert!(refused(&Order { areas: vec![area("vn"); 65], ..good.clone() }).contains("areas has 65"));
    assert!(refused(&Order { issued: Civil(0), ..good.clone() }).contains("issued"));
    assert!(refused(&Order { expires: Civil(i64::MAX), ..good }).contains("expires"));
    assert!(refused(&order(hush(Priority::Normal, at(-1)))).contains("hush.until"));
    assert!(refused(&order(cancel(fresh_id(), at(60 * 24 * 32)))).contains("cancel.at"));
    let tick = |time| order(Body::Tick(Tick { time, log: fresh_id(), head: 0, epoch: 0 }));
    assert!(refused(&tick(at(2))).contains("tick.time"));
    assert!(Order::decode(&Order { areas: vec![], ..tick(at(0)) }.encode()).is_ok());
    let own = grant(&Signer::new(1), &["vn"], &[Kind::Tick], Priority::Normal, 1);
    assert!(refused(&order(Body::Grant(own))).contains("granter's own"));
}

#[test]
fn an_order_without_a_body_this_version_knows_is_refused() {
    let mut payload = Order { areas: vec![], ..order(cancel(fresh_id(), at(0))) }.encode();
    assert!(Order::decode(&[]).is_err());
    payload.truncate(payload.len() / 2);
    assert!(Order::decode(&payload).is_err());
    assert!(Order::decode(&vec![0; 40_000]).unwrap_err().text.contains("at most 32768"));
}

fn any_body() -> impl Strategy<Value = Body> {
    let priority = prop_oneof![Just(Priority::Normal), Just(Priority::Priority), Just(Priority::Emergency)];
    (0..10, priority, any::<(u64, bool)>(), 1..600i64, "[a-zà-ỹ ]{0,20}").prop_map(
        |(kind, priority, (number, flag), minutes, text)| match kind {
            0 => {
                let mut body = bulletin(priority, -minutes, minutes);
                body.revision = number as u32;
                body.supersedes = flag.then(fresh_id);
                body.resume = flag;
                body.renditions.push(rendition(body.from));
                body.title = text;
                if priority == Priority::Emergency {
                    body.tone = Some(Tone { at: body.from - SECOND, which: 4 + number as u32 % 9, duration: SECOND });
                }
                Body::Broadcast(body)
            }
            1 => cancel(fresh_id(), at(minutes)),
            2 => Body::Hush(Hush { until: at(minutes), up_to: priority, exempt: areas_of(&["vn/02"]) }),
            3 => Body::Grant(grant(&Signer::new(2), &["vn/01", "vn/02"], &EVERY_KIND[..3], priority, minutes % 200)),
            4 => Body::Revoke(Revoke { key: Signer::new(3).id(), epoch: number }),
            5 => Body::Placement(Placement {
                node: fresh_id(),
                area: area("vn/01/00004"),
                name: text,
                parents: Vec::new(),
            }),
            6 => Body::Lock(Lock { key: Signer::new(3).id() }),
            7 => Body::Release(Release { lock: fresh_id() }),
            8 => Body::Prefer(Prefer { broadcasts: vec![fresh_id(), fresh_id()] }),
            _ => Body::Tick(Tick { time: NOW, log: fresh_id(), head: number, epoch: number / 2 }),
        },
    )
}

proptest! {
    #[test]
    fn an_order_reads_back_as_it_was_written(body in any_body()) {
        let order = order(body);
        if !matches!(&order.body, Body::Grant(grant) if grant.until == grant.from) {
            prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Order::decode(&bytes);
    }

    #[test]
    fn changed_bytes_never_panic_and_what_they_still_say_is_in_range(
        body in any_body(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let mut bytes = order(body).encode();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(order) = Order::decode(&bytes) {
            prop_assert!(order.issued < order.expires && order.expires - order.issued <= 400 * DAY);
            prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
        }
    }
}

#[test]
fn four_renditions_four_areas_and_the_longest_title_fit_a_packet_of_a_log() {
    let mut body = bulletin(Priority::Emergency, 0, 10);
    body.title = "t".repeat(200);
    let stored = |_| track::Info { packets: Some(30_000), ..rendition(body.from) };
    body.renditions = (0..4).map(stored).collect();
    body.tone = Some(Tone { at: body.from - SECOND, which: 1, duration: SECOND });
    let areas = ["vn/01/00004", "vn/01/00005", "vn/02/00017", "vn/79/26734"];
    let signed = Signer::new(1).sign(&areas, Body::Broadcast(body));
    let length = prost::Message::encoded_len(&signed);
    assert!(length <= 1_100, "{length} bytes");
}

fn settings() -> Settings {
    Settings { mute: Some(Mute::Until(NOW + Settings::MUTE)), ..Settings::open(fresh_id()) }
}

#[test]
fn what_is_out_of_range_in_settings_is_refused_by_name() {
    let said = |spoil: &dyn Fn(&mut Settings)| {
        let mut settings = settings();
        spoil(&mut settings);
        refused(&order(Body::Settings(settings)))
    };
    assert!(Order::decode(&order(Body::Settings(settings())).encode()).is_ok());
    assert!(said(&|s| s.mute = Some(Mute::Until(NOW + Settings::MUTE + 1))).contains("30 minutes"));
    assert!(said(&|s| s.mute = Some(Mute::Until(Civil(7)))).contains("settings.muted_until"));
    for delay in [-1, Settings::DELAY + 1, i64::MIN, i64::MAX] {
        assert!(said(&|s| s.delay = delay).contains("settings.delay"), "{delay}");
    }
    let stagger = |group, groups, step| Some(Stagger { group, groups, step });
    for wrong in [(0, 2), (3, 2), (1, 0), (1, 17), (u32::MAX, u32::MAX)] {
        assert!(said(&|s| s.stagger = stagger(wrong.0, wrong.1, 1)).contains("settings.stagger"), "{wrong:?}");
    }
    for step in [-1, 5 * SECOND + 1, i64::MAX, i64::MIN] {
        assert!(said(&|s| s.stagger = stagger(1, 3, step)).contains("settings.stagger.step"), "{step}");
    }
    let limit = |from, until| HourLimit { from, until, most: Volume::FLOOR };
    assert!(said(&|s| s.hours = Some(vec![limit(1_440, 0)])).contains("settings.hours"));
    assert!(said(&|s| s.hours = Some(vec![limit(0, u16::MAX)])).contains("settings.hours"));
    assert!(said(&|s| s.hours = Some(vec![limit(0, 1); 9])).contains("at most eight"));
    let two = Order { areas: areas_of(&["vn/01", "vn/02"]), ..order(Body::Settings(settings())) };
    assert!(refused(&two).contains("one area"));
    // What our own types cannot hold.
    use crate::proto::{HourLimits, order::Body as Wire};
    use prost::Message;
    let wire = |spoil: &dyn Fn(&mut crate::proto::Settings)| {
        let mut order = crate::proto::Order::decode(&order(Body::Settings(settings())).encode()[..]).unwrap();
        let Some(Wire::Settings(settings)) = &mut order.body else { unreachable!() };
        spoil(settings);
        Order::decode(&order.encode_to_vec()).unwrap_err().text
    };
    for tenths in [1, -301, i32::MIN, i32::MAX] {
        assert!(wire(&|s| s.normal = Some(tenths)).contains("settings.normal"), "{tenths}");
        assert!(wire(&|s| s.emergency = Some(tenths)).contains("settings.emergency"), "{tenths}");
    }
    let zone = Some(HourLimits { limits: Vec::new(), zone: "Mars/Olympus".into() });
    assert!(wire(&|s| s.hours = zone.clone()).contains("settings.hours.zone"));
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let volume = || prop::option::of((-300..=0).prop_map(|tenths| Volume::new(tenths).unwrap()));
    let limit = (0..1_440_u16, 0..1_440_u16, -300..=0_i32).prop_map(|(from, until, most)| HourLimit {
        from,
        until,
        most: Volume::new(most).unwrap(),
    });
    let stagger = prop::option::of((1..=16_u32, 1..=16_u32, 0..=666_666_i64));
    let mute =
        prop::option::of(prop_oneof![Just(Mute::Off), (0..=Settings::MUTE).prop_map(|left| Mute::Until(NOW + left))]);
    let hours = prop::option::of((prop::collection::vec(limit, 0..=8), any::<bool>()));
    (volume(), volume(), volume(), hours, 0..=Settings::DELAY, stagger, mute).prop_map(
        |(normal, priority, emergency, hours, delay, stagger, mute)| Settings {
            node: fresh_id(),
            normal,
            priority,
            emergency,
            zone: hours.as_ref().and_then(|(_, zone)| zone.then_some(chrono_tz::Europe::Berlin)),
            hours: hours.map(|(hours, _)| hours),
            delay,
            stagger: stagger.map(|(one, other, step)| Stagger { group: one.min(other), groups: one.max(other), step }),
            mute,
        },
    )
}

proptest! {
    #[test]
    fn settings_read_back_as_they_were_written(settings in any_settings()) {
        let order = order(Body::Settings(settings));
        prop_assert_eq!(Order::decode(&order.encode()).unwrap(), order);
    }
}
