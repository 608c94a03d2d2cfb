//! What people and programs send, read as the API reads it but with no node behind it: for fuzzing alone.
use super::forms::{Air, Give, Node, Stop};
use super::media::{self, Media};
use super::settings::Set;
use super::{api, broadcasts, live, receipts, when};
use crate::broadcast::Priority;
use crate::proto;
use crate::time::Civil;
use axum::http::Uri;
use chrono_tz::Asia::Ho_Chi_Minh;
use prost::Message;
use uuid::Uuid;

/// A path with its query, a line feed, a body.
pub fn request(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (head, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    if let Ok(uri) = Uri::try_from(head)
        && let Ok(wish) = live::http::wish(&uri, &[24_000, 16_000])
    {
        assert!(!wish.areas.is_empty() && !wish.title.chars().any(char::is_control));
    }
    if let Ok(name) = std::str::from_utf8(head) {
        let _ = media::file_name(name);
    }
    if let Ok(form) = serde_json::from_slice::<Air>(body) {
        let _ = api::areas(&form.areas);
        let _ = form.title.as_deref().map(broadcasts::title);
        let _ = form.at.as_deref().and_then(when::rfc3339);
        let _ = form.delay_ms.map(|delay| broadcasts::check_delay(delay, &[24_000], form.priority.into()));
        let _ = form.delay_ms.map(|delay| broadcasts::check_delay(delay, &[24_000], Priority::Emergency));
    }
    if let Ok(form) = serde_json::from_slice::<Stop>(body) {
        let _ = api::areas(&form.areas);
    }
    if let Ok(form) = serde_json::from_slice::<Set>(body) {
        let _ = form.read(Uuid::nil(), Ho_Chi_Minh);
    }
    if let Ok(form) = serde_json::from_slice::<Give>(body)
        && let Some(order) = form.read()
    {
        assert_eq!(Give::new(&order).read().as_ref(), Some(&order), "an order reads back as it was written");
    }
}

/// A report as `loa verify` reads it; and, so that more than its first line is looked at, lines of it that are chained anew.
pub fn bundle(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        receipts::outside::read(text);
        receipts::outside::read(&receipts::outside::chained(text));
    }
}

/// What such a report looks like.
pub fn example(order: &proto::Signed) -> String {
    receipts::outside::example(order)
}

/// What the disk holds of an upload, and what a node below says of itself, as people are shown it.
pub fn shown(bytes: &[u8]) {
    if let Ok(media) = serde_json::from_slice::<Media>(bytes) {
        let written = serde_json::to_vec(&media).unwrap_or_default();
        assert!(serde_json::from_slice::<Media>(&written).is_ok(), "what was written is read again");
    }
    if let Ok(report) = proto::Report::decode(bytes) {
        let node = Node::new(&report, Ho_Chi_Minh);
        assert!(serde_json::to_vec(&node).is_ok(), "whatever a node says can be shown");
        assert!(node.muted_clock().is_none_or(|clock| clock.len() == 5));
    }
    if let Some(first) = bytes.first_chunk::<8>() {
        let _ = when::show(Civil(i64::from_be_bytes(*first)), Ho_Chi_Minh);
    }
}
