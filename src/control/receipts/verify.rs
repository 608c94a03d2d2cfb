//! Checks a report offline: the chain of its lines, the node's signature, each order's signatures and grants, that what is
//! said of an order is of that order, and the hash of sound that is at hand.
use super::bundle::{Head, Proof, Seal, VERSION, hash};
use super::store::{hex, priority, purpose};
use crate::audio::Frames;
use crate::broadcast::{Area, Authorities, Body, Order};
use crate::control::packets;
use crate::control::text::Failure;
use crate::io::statement::Roots;
use crate::key::PublicKey;
use crate::node::Peer;
use crate::proto;
use crate::time::Civil;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use uuid::Uuid;

/// What holds.
#[derive(Debug, PartialEq, Serialize)]
pub struct Verified {
    pub node: Uuid,
    pub made: String,
    pub orders: usize,
    pub as_run: usize,
    /// Broadcasts of which the sound was at hand, and is what sounded.
    pub sounds: Vec<Uuid>,
}

/// `audio`: name and content of files that the node keeps of what was uploaded.
pub fn verify(text: &str, roots: &Roots, audio: &[(String, Frames)]) -> Result<Verified, Failure> {
    let sealed =
        |chain: &[bytes::Bytes], value: &[u8], digest: &[u8], made: Civil| roots.check(chain, value, digest, made);
    check(text, &roots.orders, audio, sealed)
}

fn check(
    text: &str,
    roots: &[PublicKey],
    audio: &[(String, Frames)],
    sealed: impl FnOnce(&[bytes::Bytes], &[u8], &[u8], Civil) -> Result<Peer, String>,
) -> Result<Verified, Failure> {
    let lines: Vec<&str> = text.lines().collect();
    let [first, between @ .., last] = &lines[..] else {
        return Err(Failure::new("report.damaged", [&1, &"there are too few lines"]));
    };
    let head: Head = read(first, 1)?;
    if head.report != VERSION {
        return Err(Failure::new("report.version", [&head.report, &VERSION]));
    }
    let mut before = hash(first);
    let mut proofs = Vec::new();
    for (number, line) in between.iter().enumerate() {
        let proof: Proof = read(line, number + 2)?;
        follows(&proof.before, &before, number + 2)?;
        before = hash(line);
        proofs.push(proof);
    }
    let seal: Seal = read(last, lines.len())?;
    follows(&seal.before, &before, lines.len())?;
    let damaged = |what: &dyn Display| Failure::new("report.damaged", [&lines.len(), what]);
    let unhex = |text: &str| unhex(text).ok_or_else(|| damaged(&"there is something else than hex digits"));
    let chain = seal.certificates.iter().map(|der| unhex(der).map(bytes::Bytes::from));
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    let peer = sealed(&chain, &unhex(&seal.signature)?, &before, Civil(head.made_us))
        .map_err(|error| Failure::new("report.signature", [&error]))?;
    if peer.node != head.node {
        return Err(Failure::new("report.signature", [&format!("node {} signed for {}", peer.node, head.node)]));
    }
    let mut verified =
        Verified { node: head.node, made: head.made, orders: proofs.len(), as_run: 0, sounds: Vec::new() };
    for (number, proof) in proofs.iter().enumerate() {
        let order = of_order(proof, roots, number + 2)?;
        agrees(proof, &order, number + 2)?;
        verified.as_run += proof.as_run.len();
        if sounds(proof, &order, audio)? {
            verified.sounds.push(order.id);
        }
    }
    if let Some((name, _)) = audio.first()
        && verified.sounds.is_empty()
    {
        return Err(Failure::new("report.audio", [name]));
    }
    Ok(verified)
}

/// The order, if its authority might give it when it did.
fn of_order(proof: &Proof, roots: &[PublicKey], line: usize) -> Result<Order, Failure> {
    let signed = |text: &str| {
        unhex(text)
            .and_then(|bytes| proto::Signed::decode(&bytes[..]).ok())
            .ok_or_else(|| Failure::new("report.damaged", [&line, &"there is no signed order in it"]))
    };
    let unproven = |error: &dyn Display| Failure::new("report.order", [&line, error]);
    let mut authorities = Authorities::new(roots.to_vec());
    for grant in &proof.grants {
        let grant = signed(grant)?;
        let issued = Order::decode(&grant.payload).map_err(|refusal| unproven(&refusal))?.issued;
        let order = authorities.check(&grant, Some(issued)).map_err(|refusal| unproven(&refusal))?;
        authorities.admit(&order, &grant);
    }
    let order = signed(&proof.order)?;
    let issued = Order::decode(&order.payload).map_err(|refusal| unproven(&refusal))?.issued;
    authorities.check(&order, Some(issued)).map(|order| order.into_order()).map_err(|refusal| unproven(&refusal))
}

/// What is said of an order is what was signed.
fn agrees(proof: &Proof, order: &Order, line: usize) -> Result<(), Failure> {
    let other = |what: &str| Err(Failure::new("report.other", [&line, &what]));
    let said = &proof.receipts;
    let areas: Vec<String> = order.areas.iter().map(Area::to_string).collect();
    let mut summed = said.clone();
    summed.add_up();
    if said.id != order.id || said.signed_by != order.authority.to_string() || said.issued_us != order.issued.0 {
        return other("id, authority or time of the order");
    }
    if said.areas != areas {
        return other("the areas");
    }
    if (said.expected, said.reached, &said.outcomes) != (summed.expected, summed.reached, &summed.outcomes) {
        return other("the counts, which are not the sum of the areas'");
    }
    let within = |area: &str| area.parse::<Area>().is_ok_and(|area| order.areas.iter().any(|of| of.contains(&area)));
    if !said.by_area.iter().all(|row| within(&row.area)) || !said.exceptions.iter().all(|node| within(&node.area)) {
        return other("an area that the order is not for");
    }
    let Body::Broadcast(broadcast) = &order.body else {
        return if proof.as_run.is_empty() { Ok(()) } else { other("what sounded of an order that has no sound") };
    };
    let head = (broadcast.title.as_str(), priority(broadcast.priority), purpose(broadcast.purpose));
    if (said.title.as_str(), said.priority.as_str(), said.purpose.as_str()) != head {
        return other("title, priority or purpose");
    }
    for row in &proof.as_run {
        let track = row.track.is_none_or(|track| broadcast.renditions.iter().any(|info| info.id == track));
        let same = (row.title.as_str(), row.priority.as_str(), row.purpose.as_str()) == head;
        if row.broadcast != order.id || row.signed_by != said.signed_by || !same || !track || !within(&row.area) {
            return other("a line of the as-run log");
        }
    }
    Ok(())
}

/// Whether a file that is at hand is what all areas sounded that sounded all of it.
fn sounds(proof: &Proof, order: &Order, audio: &[(String, Frames)]) -> Result<bool, Failure> {
    let Body::Broadcast(broadcast) = &order.body else { return Ok(false) };
    for (_, frames) in audio {
        for info in broadcast.renditions.iter().filter(|info| info.bitrate == frames.bitrate) {
            let Some(print) = packets::print(frames, info.duration)? else { continue };
            if proof.as_run.iter().any(|row| row.sha256 == hex(&print)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// For fuzzing alone.
pub mod outside {
    use super::super::bundle::compose;
    use super::super::forms::{AsRun, Receipt};
    use super::*;
    use crate::control::forms::Give;
    use serde_json::Value;

    /// Whatever comes of it, nobody is asked whether its signature holds.
    pub fn read(text: &str) {
        let peer = |_: &[bytes::Bytes], _: &[u8], _: &[u8], _: Civil| Err("nobody's".to_owned());
        let _ = check(text, &[], &[], peer);
        for (number, line) in text.lines().enumerate() {
            if let Ok(proof) = super::read::<Proof>(line, number)
                && let Ok(order) = of_order(&proof, &[], number)
            {
                let _ = agrees(&proof, &order, number);
            }
        }
    }

    /// One order of which nobody has said anything yet.
    pub fn example(order: &proto::Signed) -> String {
        let order = Give::new(order).order;
        let (receipts, as_run) = (Receipt::default(), vec![AsRun::default()]);
        let proof = Proof { before: String::new(), order, grants: Vec::new(), receipts, as_run };
        let mine = |_: &[u8]| Some((Vec::new(), [0; 64]));
        compose(&[proof], Uuid::nil(), Civil(0), chrono_tz::UTC, mine).unwrap_or_default()
    }

    /// Each line says of the one before what it should.
    pub fn chained(text: &str) -> String {
        let mut before: Option<Vec<u8>> = None;
        let mut out = String::new();
        for line in text.lines() {
            let line = match (serde_json::from_str::<Value>(line), &before) {
                (Ok(Value::Object(mut fields)), Some(before)) => {
                    fields.insert("before".to_owned(), hex(before).into());
                    Value::Object(fields).to_string()
                }
                _ => line.to_owned(),
            };
            before = Some(hash(&line));
            out += &line;
            out.push('\n');
        }
        out
    }
}

fn read<T: DeserializeOwned>(line: &str, number: usize) -> Result<T, Failure> {
    serde_json::from_str(line).map_err(|error| Failure::new("report.damaged", [&number, &error]))
}

fn follows(said: &str, before: &[u8], number: usize) -> Result<(), Failure> {
    match said == hex(before) {
        true => Ok(()),
        false => Err(Failure::new("report.damaged", [&number, &"the line before it was changed, left out or added"])),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = Some(text.as_bytes()).filter(|digits| digits.len() % 2 == 0 && text.is_ascii())?;
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
