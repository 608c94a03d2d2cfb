//! Whom a node may dial: its placement's parents, its configuration's, then those that a parent has suggested.

use crate::broadcast::Address;

/// All of them, best first, none twice.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Candidates {
    placed: Vec<Address>,
    configured: Vec<Address>,
    suggested: Vec<Address>,
}

impl Candidates {
    pub fn new(configured: Vec<Address>) -> Self {
        Self { configured, ..Self::default() }
    }

    /// What the node's signed placement says.
    pub fn place(&mut self, parents: Vec<Address>) {
        self.placed = parents;
    }

    /// What a parent said in its Welcome: it can only lead to nodes that prove themselves.
    pub fn suggest(&mut self, parents: Vec<Address>) {
        self.suggested = parents;
    }

    pub fn all(&self) -> Vec<&Address> {
        let mut all: Vec<&Address> = Vec::new();
        for address in self.placed.iter().chain(&self.configured).chain(&self.suggested) {
            if all.len() < MOST && !all.contains(&address) {
                all.push(address);
            }
        }
        all
    }

    /// The one to try after `last`, other than `avoid`; `None` where there is no other.
    pub fn next(&self, last: Option<&Address>, avoid: Option<&Address>) -> Option<Address> {
        let all = self.all();
        let from = last.and_then(|last| all.iter().position(|one| *one == last)).map_or(0, |at| at + 1);
        (0..all.len()).map(|step| all[(from + step) % all.len()]).find(|one| Some(*one) != avoid).cloned()
    }

    /// How good it is: 0 is best.
    pub fn rank(&self, address: &Address) -> usize {
        self.all().iter().position(|one| *one == address).unwrap_or(MOST)
    }
}

/// Eight of each kind would be 24: more than anybody tries in a night.
const MOST: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(name: &str) -> Address {
        Address::new(&format!("{name}:7460"), 1).unwrap()
    }

    #[test]
    fn the_placement_comes_before_the_configuration_and_both_before_what_a_parent_suggests() {
        let mut candidates = Candidates::new(vec![address("a"), address("b")]);
        candidates.suggest(vec![address("c"), address("a")]);
        candidates.place(vec![address("b")]);
        let names: Vec<&str> = candidates.all().into_iter().map(Address::host).collect();
        assert_eq!(names, ["b:7460", "a:7460", "c:7460"]);
        assert!(candidates.rank(&address("b")) < candidates.rank(&address("c")));
    }

    #[test]
    fn each_is_tried_in_turn_and_never_the_one_that_the_other_session_has() {
        let candidates = Candidates::new(vec![address("a"), address("b"), address("c")]);
        let mut last = None;
        let tried: Vec<String> = (0..4)
            .map(|_| {
                last = candidates.next(last.as_ref(), Some(&address("b")));
                last.as_ref().unwrap().host().to_owned()
            })
            .collect();
        assert_eq!(tried, ["a:7460", "c:7460", "a:7460", "c:7460"]);
        let one = Candidates::new(vec![address("a")]);
        assert_eq!(one.next(None, Some(&address("a"))), None);
        assert_eq!(one.next(Some(&address("a")), None), Some(address("a")));
        assert_eq!(Candidates::default().next(None, None), None);
    }
}
