use super::super::bundle::compose;
use super::super::fixture::{NOW, account, root};
use super::super::forms::{AsRun, OfArea, Receipt};
use super::*;
use crate::control::forms::Give;
use crate::key::{Domain, SigningKey};
use crate::node::Role;
use crate::time::SECOND;

const NODE: Uuid = Uuid::from_u128(42);

fn node() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

fn proof() -> Proof {
    let account = account(1, NOW);
    let heard = &account.heard;
    let mut receipts = Receipt {
        id: heard.order,
        kind: "broadcast".into(),
        title: heard.title.clone(),
        priority: "normal".into(),
        purpose: "real".into(),
        areas: vec!["vn/01".into()],
        issued_us: heard.issued.0,
        signed_by: heard.authority.to_string(),
        ..Default::default()
    };
    for (area, tally) in &account.areas {
        let outcomes = tally.counts().filter(|(_, count)| *count > 0);
        let outcomes = outcomes.map(|(outcome, count)| (outcome.as_str().to_owned(), count.into())).collect();
        let (expected, reached) = (tally.expected().into(), tally.reached().into());
        receipts.by_area.push(OfArea { area: area.to_string(), expected, reached, outcomes, ..Default::default() });
    }
    receipts.add_up();
    let as_run = AsRun {
        area: "vn/01/00001".into(),
        broadcast: heard.order,
        title: heard.title.clone(),
        priority: "normal".into(),
        purpose: "real".into(),
        track: account.audio.keys().next().copied(),
        sha256: hex(&[7; 32]),
        signed_by: heard.authority.to_string(),
        ..Default::default()
    };
    let grants = account.grants.iter().map(|grant| Give::new(grant).order).collect();
    Proof { before: String::new(), order: Give::new(&heard.signed).order, grants, receipts, as_run: vec![as_run] }
}

fn written(proofs: &[Proof]) -> String {
    let sign = |digest: &[u8]| Some((vec![bytes::Bytes::from_static(b"leaf")], node().sign(Domain::Report, digest)));
    compose(proofs, NODE, NOW + 60 * SECOND, chrono_tz::UTC, sign).unwrap()
}

fn checked(text: &str) -> Result<Verified, String> {
    let sealed = |chain: &[bytes::Bytes], value: &[u8], digest: &[u8], made: Civil| {
        assert_eq!((chain.len(), made), (1, NOW + 60 * SECOND));
        match node().public().verify(Domain::Report, digest, value) {
            true => Ok(Peer { node: NODE, role: Role::Relay }),
            false => Err("not by this key".to_owned()),
        }
    };
    check(text, &[root().public()], &[], sealed).map_err(|failure| failure.code)
}

fn code(text: &str) -> String {
    checked(text).unwrap_err()
}

#[test]
fn a_report_as_it_was_written_holds() {
    let verified = checked(&written(&[proof(), proof()])).unwrap();
    assert_eq!((verified.node, verified.orders, verified.as_run), (NODE, 2, 2));
    assert_eq!(checked(&written(&[])).unwrap().orders, 0);
}

#[test]
fn no_line_can_be_changed_left_out_added_or_moved() {
    let text = written(&[proof(), proof()]);
    let lines: Vec<&str> = text.lines().collect();
    let join = |lines: &[&str]| lines.join("\n");
    assert_eq!(code(&join(&[lines[0], lines[2], lines[3]])), "report.damaged");
    assert_eq!(code(&join(&[lines[0], lines[1], lines[1], lines[2], lines[3]])), "report.damaged");
    assert_eq!(code(&join(&lines[..3])), "report.damaged");
    assert_eq!(code(&text.replacen("Bản tin", "Bản tln", 1)), "report.damaged");
    assert_eq!(code(""), "report.damaged");
    assert_eq!(code("{}\n{}"), "report.damaged");
    let later = text.replacen("\"report\":1", "\"report\":2", 1);
    assert_eq!(code(&later), "report.version");
    // Whoever builds the chain anew lacks the node's key.
    let sign = |digest: &[u8]| {
        let other = SigningKey::from_seed(&[99; 32]);
        Some((vec![bytes::Bytes::from_static(b"leaf")], other.sign(Domain::Report, digest)))
    };
    let forged = compose(&[proof()], NODE, NOW + 60 * SECOND, chrono_tz::UTC, sign).unwrap();
    assert_eq!(code(&forged), "report.signature");
}

#[test]
fn a_node_that_lies_about_an_order_is_found_out() {
    let change = |change: fn(&mut Proof)| {
        let mut proof = proof();
        change(&mut proof);
        code(&written(&[proof]))
    };
    assert_eq!(change(|proof| proof.grants.clear()), "report.order");
    let other_signature = |proof: &mut Proof| {
        let last = proof.order.pop();
        proof.order.push(if last == Some('0') { '1' } else { '0' });
    };
    assert_eq!(change(other_signature), "report.order");
    assert_eq!(change(|proof| proof.order = "zz".into()), "report.damaged");
    for lie in [
        (|proof: &mut Proof| proof.receipts.title = "Khác".into()) as fn(&mut Proof),
        |proof| proof.receipts.priority = "emergency".into(),
        |proof| proof.receipts.areas = vec!["vn".into()],
        |proof| proof.receipts.id = Uuid::nil(),
        |proof| proof.receipts.reached += 1,
        |proof| proof.receipts.by_area[0].area = "vn/02".into(),
        |proof| proof.as_run[0].broadcast = Uuid::nil(),
        |proof| proof.as_run[0].track = Some(Uuid::nil()),
        |proof| proof.as_run[0].area = "vn/02".into(),
        |proof| proof.as_run[0].signed_by = String::new(),
    ] {
        assert_eq!(change(lie), "report.other");
    }
}
