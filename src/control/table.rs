//! The live table of nodes: aligned text, refreshed in place on a terminal.
use super::forms::{Authorities, Listed, Node};
use super::text::{Language, say};
use super::when;
use crate::time::Civil;
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use uuid::Uuid;

/// One line per node, in the order given.
pub fn nodes(nodes: &[Node], titles: &BTreeMap<Uuid, String>, language: Language) -> String {
    let names: BTreeMap<Uuid, &str> = nodes.iter().map(|node| (node.id, node.name.as_str())).collect();
    let title = |id: &Uuid| titles.get(id).cloned().unwrap_or_else(|| id.to_string());
    let head = [
        say(language, "demo.node", []),
        say(language, "demo.area", []),
        say(language, "demo.parent", []),
        say(language, "demo.state", []),
        say(language, "demo.buffer", []),
        say(language, "demo.received", []),
        say(language, "demo.lost", []),
        say(language, "demo.repaired", []),
        say(language, "demo.offset", []),
        say(language, "demo.level", []),
        say(language, "demo.sounds", []),
    ];
    let rows = nodes.iter().map(|node| {
        let speaker = node.role == "speaker";
        let only = |value: i64| if speaker { value.to_string() } else { "-".into() };
        [
            node.name.clone(),
            node.area.clone(),
            node.parent.and_then(|id| names.get(&id)).map_or("-".into(), ToString::to_string),
            // What is wrong stands where people look first.
            std::iter::once(&node.state).chain(&node.trouble).cloned().collect::<Vec<_>>().join(" "),
            only(node.buffer_us / 1_000),
            node.received.to_string(),
            node.lost.to_string(),
            node.repaired.to_string(),
            only(node.offset_us),
            node.rms_dbfs.map_or("-".into(), |level| format!("{level:.1}")),
            node.sounding.as_ref().map_or("-".into(), title),
        ]
    });
    align(std::iter::once(head).chain(rows).collect(), &[4, 5, 6, 7, 8, 9])
}

/// One line per broadcast that sounds or is to come, soonest first, with the id that cancels it; nothing if there is none.
pub fn on_air(broadcasts: &[Listed], zone: Tz, language: Language) -> String {
    let rows = broadcasts_in(broadcasts.iter().filter(|one| !one.prepared), zone, language);
    if rows.is_empty() { rows } else { format!("\n{rows}") }
}

/// The same of what is kept ready.
pub fn prepared(broadcasts: &[Listed], zone: Tz, language: Language) -> String {
    broadcasts_in(broadcasts.iter().filter(|one| one.prepared), zone, language)
}

fn broadcasts_in<'a>(broadcasts: impl Iterator<Item = &'a Listed>, zone: Tz, language: Language) -> String {
    let mut listed: Vec<&Listed> =
        broadcasts.filter(|one| matches!(one.state.as_str(), "known" | "sounding")).collect();
    if listed.is_empty() {
        return String::new();
    }
    listed.sort_by_key(|one| one.from_us);
    let head = ["status.id", "status.title", "status.areas", "status.from", "status.until"];
    let head = head.map(|code| say(language, code, []));
    let short = |micros| when::moment(Civil(micros), zone, language);
    let rows = listed.into_iter().take(ON_AIR).map(|one| {
        let title = super::operator::called(one, language);
        [one.id.to_string(), title, one.areas.join(","), short(one.from_us), short(one.until_us)]
    });
    align(std::iter::once(head).chain(rows).collect(), &[])
}

/// A day of a province's, under a tree that is to be read too.
const ON_AIR: usize = 40;

/// One line per grant, and one per lock.
pub fn authorities(list: &Authorities, language: Language) -> String {
    let head =
        ["revoke.key", "demo.area", "revoke.name", "revoke.kinds", "revoke.until"].map(|code| say(language, code, []));
    let rows = list.authorities.iter().map(|authority| {
        let gone = if authority.alive { String::new() } else { format!(" {}", say(language, "revoke.gone", [])) };
        [
            authority.key.clone(),
            authority.areas.join(","),
            authority.name.clone(),
            authority.kinds.join(","),
            format!("{}{gone}", when::retold(&authority.until, language)),
        ]
    });
    let locks = list
        .locks
        .iter()
        .map(|locked| say(language, "lock.held", [&locked.key, &locked.areas.join(","), &locked.lock]) + "\n");
    align(std::iter::once(head).chain(rows).collect(), &[]) + &locks.collect::<String>()
}

/// Columns as wide as their widest cell; `right` names those whose numbers stand under each other.
pub fn align<const N: usize>(rows: Vec<[String; N]>, right: &[usize]) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| clean(&cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            match right.contains(&column) {
                true => line += &format!("{gap}{cell:>width$}"),
                false => line += &format!("{gap}{cell:<width$}"),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Titles and names come from afar: nothing in them may steer the terminal or stretch the table.
fn clean(cell: &str) -> String {
    let mut clean: String = cell.chars().filter(|letter| !letter.is_control()).take(WIDEST).collect();
    if cell.chars().count() > WIDEST {
        clean.pop();
        clean.push('…');
    }
    clean
}

/// Standard output, redrawn in place if it is a terminal and added to if not.
pub struct Screen {
    terminal: bool,
    /// Lines of the last picture.
    lines: usize,
}

impl Screen {
    pub fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), lines: 0 }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Lines and columns of the terminal, less the one that the cursor stands in. A picture that is higher could not be
    /// drawn over.
    pub fn room(&self) -> Option<(usize, usize)> {
        let (high, wide) = console::Term::stdout().size_checked().filter(|_| self.terminal)?;
        Some((usize::from(high.saturating_sub(1)).max(2), usize::from(wide)))
    }

    pub fn show(&mut self, picture: &str) {
        let mut out = std::io::stdout().lock();
        let text = if self.terminal { redraw(picture, self.lines) } else { picture.to_owned() };
        self.lines = picture.lines().count();
        // Nobody reads any more: the demonstration goes on all the same.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// What is written next stands below the picture and stays.
    pub fn leave(&mut self) {
        self.lines = 0;
    }
}

/// ECMA-48: up so many lines, and each cleared to its end.
fn redraw(picture: &str, above: usize) -> String {
    let mut text = if above > 0 { format!("\x1b[{above}A\r") } else { String::new() };
    for line in picture.lines() {
        text += line;
        text += "\x1b[K\n";
    }
    text + "\x1b[J"
}

/// Letters of one cell.
const WIDEST: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: &str) -> Node {
        Node { id: Uuid::from_u128(name.len() as u128), name: name.into(), role: role.into(), ..Default::default() }
    }

    #[test]
    fn numbers_stand_under_each_other_and_a_parent_is_named() {
        let mut speaker = node("vn-01-00001-a", "speaker");
        speaker.parent = Some(Uuid::from_u128(8));
        speaker.buffer_us = 860_400;
        speaker.received = 120;
        speaker.sounding = Some(Uuid::from_u128(99));
        let titles = [(Uuid::from_u128(99), "Bản tin".to_owned())].into();
        let text = nodes(&[node("relay-01", "relay"), speaker], &titles, Language::English);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("node") && lines[2].contains("relay-01") && lines[2].contains("860"), "{text}");
        assert!(lines[2].ends_with("Bản tin"));
        let end = |line: &str, word: &str| line[..line.find(word).unwrap() + word.len()].chars().count();
        assert_eq!(end(lines[0], "received"), end(lines[2], "120"));
        assert_ne!(text, nodes(&[node("relay-01", "relay")], &titles, Language::Vietnamese));
    }

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        let text =
            nodes(&[node("a\x1b[2J\nb", "relay"), node(&"x".repeat(90), "relay")], &BTreeMap::new(), Language::English);
        assert!(!text.contains('\x1b'));
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.chars().count() < 140), "{text}");
    }

    #[test]
    fn a_picture_is_drawn_over_the_last_one() {
        assert_eq!(redraw("a\nb\n", 0), "a\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(redraw("a\n", 2), "\x1b[2A\ra\x1b[K\n\x1b[J");
    }
}
