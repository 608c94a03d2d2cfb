//! What an attacker with a stolen commune key can do, and what the order of arrival can't.

use crate::broadcast::fixtures::*;
use crate::broadcast::*;
use crate::proto;
use proptest::prelude::*;
use uuid::Uuid;

const PLACES: [&str; 6] = ["vn", "vn/01", "vn/01/00004", "vn/01/00004/1", "vn/01/00005", "vn/02"];
const PRIORITIES: [Priority; 3] = [Priority::Normal, Priority::Priority, Priority::Emergency];

/// Numbers from which an order is made: its shape is any of those there are.
#[derive(Clone, Debug)]
struct Plan {
    signer: usize,
    kind: usize,
    places: Vec<usize>,
    priority: usize,
    from: i64,
    length: i64,
    target: usize,
    lie: bool,
}

fn plan(signers: usize) -> impl Strategy<Value = Plan> {
    let places = prop::collection::vec(0..PLACES.len(), 1..3);
    (0..signers, 0..10usize, places, 0..3usize, -5..20i64, 1..20i64, 0..8usize, any::<bool>()).prop_map(
        |(signer, kind, places, priority, from, length, target, lie)| Plan {
            signer,
            kind,
            places,
            priority,
            from,
            length,
            target,
            lie,
        },
    )
}

impl Plan {
    /// Most are broadcasts, cancels and hushes; `ids` are what cancels, revisions and thefts name.
    fn order(&self, signers: &[Signer], known: &[Order]) -> Order {
        let signer = &signers[self.signer];
        let places: Vec<&str> = self.places.iter().map(|place| PLACES[*place]).collect();
        let priority = PRIORITIES[self.priority];
        let target = known.get(self.target);
        let id = target.map_or_else(fresh_id, |order| order.id);
        let body = match self.kind {
            0..=2 => {
                let mut body = bulletin(priority, self.from, self.from.max(0) + self.length);
                body.supersedes = self.lie.then_some(id);
                Body::Broadcast(body)
            }
            3 | 4 => cancel(id, at(self.from)),
            5 | 6 => hush(priority, at(self.length)),
            7 => {
                let to = &signers[self.target % signers.len()];
                Body::Grant(grant(to, &places, &EVERY_KIND, priority, 1 + self.length / 4))
            }
            8 => Body::Revoke(Revoke { key: signers[self.target % signers.len()].id(), epoch: 1 }),
            _ => match target.map(|order| (&order.body, order)) {
                Some((Body::Broadcast(_), order)) if order.authority == signer.id() => {
                    return order.revise(self.length as u64, vec![rendition(at(self.from))]);
                }
                _ => cancel(id, at(self.from)),
            },
        };
        signer.order(&places, body)
    }
}

fn outcomes(book: &Book) -> Vec<(Choice, &'static str)> {
    let instants = (-6..45).map(|minute| Some(at(minute))).chain([None]);
    instants.flat_map(|now| PLACES.map(|place| (choose(book, &area(place), now), place))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_sequence_of_orders_lets_a_limited_authority_out_of_its_grant(
        plans in prop::collection::vec(plan(3), 1..25),
        steal in any::<bool>(),
    ) {
        let mut country = Country::new();
        // A nation at work: what must not be touched outside the attacker's area, nor in it by rank.
        let mut book = Book::new();
        let mut known = Vec::new();
        for (priority, from) in [(Priority::Normal, 0), (Priority::Emergency, 10)] {
            let order = country.nation.order(&["vn"], Body::Broadcast(bulletin(priority, from, from + 8)));
            country.take(&mut book, NOW, &sign(&order, &country.nation.key)).unwrap();
            known.push(order);
        }
        let honest: Vec<(Choice, &str)> = outcomes(&book);

        // Its grant, and two keys of its own making; it may grant and revoke.
        let thief = Signer::new(80);
        let signed = country.province.grants(grant(&thief, &["vn/01/00004"], &EVERY_KIND, Priority::Priority, 4));
        country.take(&mut book, NOW, &signed).unwrap();
        let signers = [thief, Signer::new(81), Signer::new(82)];
        for plan in plans {
            let mut order = plan.order(&signers, &known);
            if steal && plan.lie {
                order.id = known[plan.target % known.len()].id;
            }
            let signed = sign(&order, &signers[plan.signer].key);
            let _ = country.take(&mut book, NOW, &signed);
            known.push(order);
        }

        for ((choice, place), (before, _)) in outcomes(&book).into_iter().zip(honest) {
            let inside = area("vn/01/00004").contains(&area(place));
            if !inside {
                prop_assert_eq!(choice.broadcast, before.broadcast, "{} was touched", place);
                prop_assert!(!choice.hushed);
            }
            if let Some(entry) = choice.broadcast.and_then(|id| book.get(id)) {
                let honest = entry.authority == country.nation.id();
                prop_assert!(honest || (inside && entry.broadcast.priority <= Priority::Priority));
            }
            let emergency = before.broadcast == Some(known[1].id);
            prop_assert!(!emergency || choice.broadcast == before.broadcast, "an emergency was silenced");
        }
        for honest in ["vn", "vn/01", "vn/02"].iter().zip([&country.nation, &country.province, &country.neighbour]) {
            let signed = honest.1.sign(&[honest.0], hush(Priority::Emergency, at(1)));
            prop_assert!(country.authorities.check(&signed, Some(NOW)).is_ok(), "{} was revoked", honest.0);
        }
    }

    #[test]
    fn two_books_fed_the_same_orders_in_different_order_choose_the_same(
        (plans, shuffled) in prop::collection::vec(plan(4), 1..16).prop_flat_map(|plans| {
            let indices: Vec<usize> = (0..plans.len()).collect();
            (Just(plans), Just(indices).prop_shuffle())
        }),
        late in 0..10i64,
    ) {
        let Country { nation, province, neighbour, commune, authorities, .. } = Country::new();
        let signers = [nation, province, neighbour, commune];
        let mut known: Vec<Order> = Vec::new();
        for plan in plans {
            let mut order = plan.order(&signers, &known);
            // An id taken from another authority's broadcast; one's own would be an authority that
            // contradicts itself, which no rule can settle.
            let own = |id| known.iter().any(|held| held.id == id && held.authority == order.authority);
            let theft = known.get(plan.target).filter(|other| plan.lie && !own(other.id));
            order.id = theft.map_or(order.id, |other| other.id);
            let revision = |order: &Order| match &order.body {
                Body::Broadcast(body) => body.revision,
                _ => 0,
            };
            if known.iter().any(|held| (held.id, held.authority, revision(held)) == (order.id, order.authority, revision(&order))) {
                continue;
            }
            known.push(order);
        }
        let signed: Vec<proto::Signed> = known
            .iter()
            .map(|order| sign(order, &signers.iter().find(|signer| signer.id() == order.authority).unwrap().key))
            .collect();
        let vouched: Vec<_> = signed.iter().map(|signed| authorities.check(signed, Some(NOW))).collect();
        let feed = |order: &mut dyn Iterator<Item = usize>| {
            let mut book = Book::new();
            for index in order {
                if let Ok(order) = &vouched[index] {
                    let _ = book.handle(Some(at(late)), order, &signed[index]);
                }
            }
            book
        };
        let (left, mut right) = (feed(&mut (0..vouched.len())), feed(&mut shuffled.iter().copied().filter(|i| *i < vouched.len())));
        prop_assert_eq!(outcomes(&left), outcomes(&right));
        right.expire(at(late));
        let later = |book: &Book| -> Vec<Option<Uuid>> {
            (late..45).flat_map(|minute| PLACES.map(|place| choose(book, &area(place), Some(at(minute))).broadcast)).collect()
        };
        prop_assert_eq!(later(&left), later(&right), "expiry changed a choice");
        let mut rebuilt = Book::new();
        for signed in left.in_force(Some(at(late))) {
            let order = authorities.recall(&signed).unwrap();
            let _ = rebuilt.handle(None, &order, &signed);
        }
        rebuilt.expire(at(late));
        prop_assert_eq!(later(&left), later(&rebuilt), "a restart changed a choice");
    }
}
