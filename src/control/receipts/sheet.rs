//! Receipts and the as-run log as spreadsheets read them.
//!
//! UTF-8 with a byte order mark, without which Excel takes Vietnamese letters for another encoding. Cells are parted by
//! `;`: where the decimal sign is a comma, as in Vietnamese settings, Excel takes no comma between cells. A cell that a
//! formula could begin (`=`, `+`, `-`, `@`, a tab or a carriage return) has a `'` before it, so that a title from afar
//! computes nothing on an auditor's machine. The rest is RFC 4180.
use super::command::reason;
use super::forms::{AsRunLog, Receipts};
use crate::control::text::{Language, say};

/// One line for each area and outcome, and one for each node that is named.
pub fn receipts(list: &Receipts, language: Language) -> String {
    let mut sheet = Sheet::new(
        language,
        &[
            "sheet.broadcast",
            "sheet.title",
            "sheet.kind",
            "sheet.priority",
            "sheet.purpose",
            "sheet.issued",
            "sheet.area",
            "sheet.node",
            "sheet.name",
            "sheet.outcome",
            "sheet.nodes",
            "sheet.from",
            "sheet.to",
            "sheet.lost",
            "sheet.by",
            "sheet.why",
            "sheet.signed",
        ],
    );
    for order in &list.receipts {
        let id = order.id.to_string();
        let head = [&id, &order.title, &order.kind, &order.priority, &order.purpose, &order.issued];
        for area in &order.by_area {
            for (outcome, count) in &area.outcomes {
                let (from, to) = (area.from.clone().unwrap_or_default(), area.to.clone().unwrap_or_default());
                let (count, lost) = (count.to_string(), area.lost_per_mille.to_string());
                let name = named(language, outcome);
                let rest = [&area.area, "", "", &name, &count, &from, &to, &lost, "", "", &order.signed_by];
                sheet.line(head.iter().map(|cell| cell.as_str()).chain(rest));
            }
        }
        for node in &order.exceptions {
            let (from, to) = (node.from.clone().unwrap_or_default(), node.to.clone().unwrap_or_default());
            let (uuid, lost) = (node.node.to_string(), node.lost_per_mille.to_string());
            let by = node.by.map(|by| by.to_string()).unwrap_or_default();
            let (name, why) = (named(language, &node.outcome), reason(&node.why, language));
            let rest = [&node.area, &uuid, &node.name, &name, "", &from, &to, &lost, &by, &why, &order.signed_by];
            sheet.line(head.iter().map(|cell| cell.as_str()).chain(rest));
        }
    }
    sheet.text
}

pub fn as_run(log: &AsRunLog, language: Language) -> String {
    let mut sheet = Sheet::new(
        language,
        &[
            "sheet.area",
            "sheet.broadcast",
            "sheet.title",
            "sheet.priority",
            "sheet.purpose",
            "sheet.from",
            "sheet.to",
            "sheet.track",
            "sheet.sha256",
            "sheet.alike",
            "sheet.nodes",
            "sheet.signed",
        ],
    );
    for row in &log.as_run {
        let (broadcast, track) = (row.broadcast.to_string(), row.track.map(|id| id.to_string()).unwrap_or_default());
        let (alike, nodes) = (row.alike.to_string(), row.nodes.to_string());
        sheet.line(
            [
                row.area.as_str(),
                &broadcast,
                &row.title,
                &row.priority,
                &row.purpose,
                &row.from,
                &row.to,
                &track,
                &row.sha256,
                &alike,
                &nodes,
                &row.signed_by,
            ]
            .into_iter(),
        );
    }
    sheet.text
}

/// As people call it; what a later release says stays as it is.
pub fn named(language: Language, outcome: &str) -> String {
    match crate::broadcast::receipt::Outcome::of_str(outcome) {
        Some(known) => say(language, super::command::outcome_code(known), []),
        None => outcome.to_owned(),
    }
}

struct Sheet {
    text: String,
}

impl Sheet {
    fn new(language: Language, head: &[&str]) -> Self {
        let mut sheet = Self { text: "\u{feff}".to_owned() };
        let names: Vec<String> = head.iter().map(|code| say(language, code, [])).collect();
        sheet.line(names.iter().map(String::as_str));
        sheet
    }

    fn line<'a>(&mut self, cells: impl Iterator<Item = &'a str>) {
        let cells: Vec<String> = cells.map(cell).collect();
        self.text += &cells.join(";");
        self.text += "\r\n";
    }
}

fn cell(text: &str) -> String {
    let harmless = match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match harmless.contains([';', '"', '\n', '\r']) {
        true => format!("\"{}\"", harmless.replace('"', "\"\"")),
        false => harmless,
    }
}

#[cfg(test)]
mod tests {
    use super::super::forms::*;
    use super::*;

    #[test]
    fn a_sheet_begins_with_the_mark_and_every_line_has_as_many_cells() {
        let mut order =
            Receipt { title: "Bản tin; \"sáng\"".into(), kind: "broadcast".into(), ..Default::default() };
        let outcomes = [("played".to_owned(), 3), ("not_reached".to_owned(), 1)].into();
        order.by_area.push(OfArea { area: "vn/01".into(), outcomes, ..Default::default() });
        order.exceptions.push(Exception {
            name: "=HYPERLINK(\"http://bad\";\"click\")".into(),
            outcome: "not_reached".into(),
            ..Default::default()
        });
        for language in [Language::Vietnamese, Language::English] {
            let text = receipts(&Receipts { receipts: vec![order.clone()] }, language);
            assert!(text.starts_with('\u{feff}') && text.ends_with("\r\n"));
            assert!(text.contains("\"Bản tin; \"\"sáng\"\"\""), "{text}");
            assert!(text.contains("\"'=HYPERLINK(\"\"http"), "{text}");
            let mut reader =
                csv::ReaderBuilder::new().delimiter(b';').from_reader(text.trim_start_matches('\u{feff}').as_bytes());
            let width = reader.headers().unwrap().len();
            let rows: Vec<_> = reader.records().map(|row| row.unwrap()).collect();
            assert_eq!(rows.len(), 3);
            assert!(rows.iter().all(|row| row.len() == width));
        }
    }

    #[test]
    fn no_cell_begins_a_formula() {
        for start in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(cell(start).trim_start_matches('"').starts_with('\''), "{start:?}");
        }
        assert_eq!(cell("vn/01"), "vn/01");
        assert_eq!(cell(""), "");
    }
}
