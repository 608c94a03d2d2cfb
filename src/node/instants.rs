//! When a node tells its parent what tens of thousands of siblings have to tell theirs too: each at an instant of its
//! own. Whoever stands in for a node (a load tool, a speaker of another make) keeps to the same.
use crate::time::{MILLISECOND, SECOND};
use uuid::Uuid;

/// µs in `[0, most)`, the node's own.
pub fn spread(node: Uuid, most: i64) -> i64 {
    let node = node.as_u128();
    ((node ^ (node >> 64)) as u64 % most.max(1).unsigned_abs()) as i64
}

/// Before the first packet is due, by which a relay listens and has its answer; and how much sooner: a relay with
/// those below at its back, and each of them at an instant of its own.
pub const LEAD: i64 = 2 * SECOND;
pub const STARTS_SPREAD: i64 = 2 * SECOND;
/// Beyond the instant at which the first packet of an emergency is sent; and then each node at its own.
pub const INSIST: i64 = 300 * MILLISECOND;
pub const INSIST_SPREAD: i64 = SECOND;
/// What an emergency or a hush silences is left so much later, and by so much more: its own sound is through first.
pub const LEAVES: i64 = SECOND;
pub const LEAVES_SPREAD: i64 = 4 * SECOND;
/// What comes back is asked for so long before, and by so much more: what is silenced for a shorter time is not left.
/// 20,000 children that asked within two seconds took a whole core of their parents, and the next emergency's order
/// waited for it (`config/load-emergency.toml`).
pub const COMES_BACK: i64 = SECOND;
pub const COMES_BACK_SPREAD: i64 = 8 * SECOND;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_come_at_instants_of_their_own_and_always_at_the_same() {
        let node = |number: u128| Uuid::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835));
        let mut tenths = [0; 10];
        for number in 0..10_000 {
            let at = spread(node(number), 2 * SECOND);
            assert_eq!(at, spread(node(number), 2 * SECOND));
            tenths[(at / (SECOND / 5)) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
        assert_eq!((spread(node(7), 1), spread(node(7), 0)), (0, 0));
    }
}
