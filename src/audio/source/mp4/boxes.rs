//! Boxes (ISO 14496-12 §4.2), numbers big-endian:
//! ```text
//! length 4, of all │ kind 4 │ [ length 8, if the first is 1 ] │ body        length 0: to the end
//! ```

/// The boxes in a body, one after another; ends where one is longer than what is there.
pub(super) fn boxes(mut body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (kind, head, length) = head(body)?;
        let end = match length {
            0 => body.len(),
            length => usize::try_from(length).ok()?,
        };
        let inner = body.get(head..end)?;
        body = &body[end..];
        Some((kind, inner))
    })
}

/// Kind, length of the head, and of all.
pub(super) fn head(bytes: &[u8]) -> Option<([u8; 4], usize, u64)> {
    let short = u32_at(bytes, 0)?;
    let kind = *bytes.get(4..8)?.first_chunk()?;
    match short {
        1 => u64_at(bytes, 8).filter(|length| *length >= 16).map(|length| (kind, 16, length)),
        0 => Some((kind, 8, 0)),
        8.. => Some((kind, 8, short.into())),
        _ => None,
    }
}

/// The first box of a kind, by a path of kinds.
pub(super) fn inside<'a>(body: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(body, |body, kind| boxes(body).find(|(found, _)| found == *kind).map(|(_, inner)| inner))
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.first_chunk().map(|two| u16::from_be_bytes(*two))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_end_where_one_claims_more_than_there_is() {
        let bytes = b"\0\0\0\x0aaaaa12\0\0\0\x01bbbb\0\0\0\0\0\0\0\x11x\0\0\xff\xffcccc";
        let found: Vec<_> = boxes(bytes).collect();
        assert_eq!(found, [(*b"aaaa", &b"12"[..]), (*b"bbbb", &b"x"[..])]);
        assert_eq!(inside(bytes, &[b"bbbb"]), Some(&b"x"[..]));
        assert_eq!(boxes(b"\0\0\0\x07aaaa").count() + boxes(b"\0\0\0\x01aaaa\0\0\0\0\0\0\0\x02").count(), 0);
    }
}
