//! Units by what people call them: in any language, without their marks, half spelled.

use super::{Register, Unit};
use crate::broadcast::Area;
use chrono::NaiveDate;
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl Register {
    /// Units whose name, in any language, is, begins with or holds `text`; best first, at most `most`. Case, Vietnamese
    /// marks and punctuation do not count, and a word for the kind may stand before the name: `tỉnh hà giang`.
    pub fn find(&self, text: &str, most: usize) -> Vec<&Unit> {
        let wanted = fold(text.get(..text.floor_char_boundary(MOST_TEXT)).unwrap_or_default());
        if wanted.is_empty() {
            return Vec::new();
        }
        let mut found: BTreeMap<&Area, u8> = BTreeMap::new();
        for (name, codes) in &self.names {
            let Some(rank) = rank(&wanted, name) else { continue };
            for code in codes {
                let best = found.entry(code).or_insert(rank);
                *best = rank.min(*best);
            }
        }
        let mut found: Vec<_> = found.into_iter().map(|(code, rank)| (rank, code.as_str().len(), code)).collect();
        // The wider unit first: whoever says "hue" means the city.
        found.sort();
        found.into_iter().take(most).filter_map(|(.., code)| self.unit(code)).collect()
    }

    /// What was probably meant by a code that is not known: a sibling that is spelled alike or named so, or the same
    /// last segment elsewhere.
    pub(super) fn near(&self, area: &Area, on: NaiveDate) -> Vec<Area> {
        let parent = self.nearest(area).map(|unit| &unit.code);
        // The segment that is not known, right below the nearest unit that is.
        let depth = parent.map_or(0, |parent| parent.as_str().len() + 1);
        let wrong = area.as_str().get(depth..).unwrap_or_default().split('/').next().unwrap_or_default();
        let siblings = match parent {
            Some(parent) => self.children.get(parent).cloned().unwrap_or_default(),
            None => self.units.keys().filter(|code| code.parent().is_none()).cloned().collect(),
        };
        let name = fold(wrong);
        let mut near = Vec::new();
        for unit in siblings.iter().filter_map(|code| self.units.get(code)) {
            let named = unit.names.iter().any(|(_, known)| fold(known) == name);
            let distance = if named { 0 } else { strsim::osa_distance(wrong, unit.code.last()) };
            if distance <= FARTHEST {
                // Among equals those that are there, and those that begin alike: slips come late.
                let alike =
                    wrong.bytes().zip(unit.code.last().bytes()).take_while(|(left, right)| left == right).count();
                near.push((distance, !unit.is_there(on), Reverse(alike), unit.code.clone()));
            }
        }
        near.sort();
        let elsewhere = self.units.keys().filter(|code| code.last() == area.last()).take(MOST_NEAR);
        let named = self.find(&area.last().replace('-', " "), MOST_NEAR).into_iter().map(|unit| &unit.code);
        let others: Vec<Area> = elsewhere.chain(named).cloned().collect();
        let mut answer: Vec<Area> = Vec::new();
        for code in near.into_iter().map(|(.., code)| code).chain(others).chain(parent.cloned()) {
            if !answer.contains(&code) && answer.len() < MOST_NEAR {
                answer.push(code);
            }
        }
        answer
    }
}

/// How well a folded name fits; less is better.
fn rank(wanted: &str, name: &str) -> Option<u8> {
    let after = |text: &str, tail: &str| text.strip_suffix(tail).is_some_and(|head| head.ends_with(' '));
    if name == wanted {
        Some(0)
    } else if !name.is_empty() && after(wanted, name) {
        Some(1)
    } else if name.starts_with(wanted) {
        Some(2)
    } else if name.contains(&format!(" {wanted}")) {
        Some(3)
    } else if name.contains(wanted) {
        Some(4)
    } else {
        None
    }
}

/// A name as it is compared: small letters, no marks, one space where there was anything else.
pub fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        match bare(letter) {
            None => {}
            Some(letter) if letter.is_alphanumeric() => folded.push(letter),
            Some(_) if folded.is_empty() || folded.ends_with(' ') => {}
            Some(_) => folded.push(' '),
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// A small letter without its mark; `None` for a mark that stands alone (U+0300–036F, as decomposed text has it).
fn bare(letter: char) -> Option<char> {
    if ('\u{300}'..='\u{36f}').contains(&letter) {
        return None;
    }
    let of = |(bare, marked): &(char, &str)| marked.contains(letter).then_some(*bare);
    Some(if letter.is_ascii() { letter } else { MARKED.iter().find_map(of).unwrap_or(letter) })
}

/// The letters of Vietnamese, and those of its neighbours and minorities that Latin script writes with a mark.
const MARKED: &[(char, &str)] = &[
    ('a', "àáảãạăằắẳẵặâầấẩẫậäåā"),
    ('c', "çč"),
    ('d', "đð"),
    ('e', "èéẻẽẹêềếểễệëĕē"),
    ('i', "ìíỉĩịîïĭī"),
    ('n', "ñň"),
    ('o', "òóỏõọôồốổỗộơờớởỡợöøŏō"),
    ('u', "ùúủũụưừứửữựûüŭū"),
    ('y', "ỳýỷỹỵÿ"),
];
/// Of what is looked for; no name is longer.
const MOST_TEXT: usize = 256;
/// What a sentence can name.
const MOST_NEAR: usize = 3;
/// Slips of the finger: two of them in a code of two to five digits.
const FARTHEST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_case_and_punctuation_do_not_count() {
        for (name, folded) in [
            ("Hà Nội", "ha noi"),
            ("ĐẮK LẮK", "dak lak"),
            ("  Bà Rịa – Vũng Tàu ", "ba ria vung tau"),
            ("H\u{a0}à", "h a"),
            ("Ha\u{300} No\u{302}\u{323}i", "ha noi"),
            ("Thừa Thiên Huế", "thua thien hue"),
            ("Lý Sơn, Mỹ Tho", "ly son my tho"),
            ("…", ""),
        ] {
            assert_eq!(fold(name), folded, "{name}");
        }
    }

    #[test]
    fn every_marked_letter_of_vietnamese_is_known() {
        let letters = "aàáảãạăằắẳẵặâầấẩẫậbcdđeèéẻẽẹêềếểễệghiìíỉĩịklmnoòóỏõọôồốổỗộơờớởỡợpqrstuùúủũụưừứửữựvxyỳýỷỹỵ";
        assert!(fold(letters).is_ascii());
        assert!(fold(&letters.to_uppercase()).is_ascii());
    }
}
