//! What `toml` and `serde` say in English alone, with a mend, in both languages.
use super::mistake::Said;

/// A field that is not known, with the nearest one that is.
pub fn unknown(message: &str) -> Said {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let (vietnamese, english) = match nearest(unknown, &known) {
        Some(near) => (format!("có phải là {near}?"), format!("did you mean {near}?")),
        None => {
            let known = known.join(", ");
            (format!("ở đây có: {known}"), format!("known here: {known}"))
        }
    };
    Said::new(format!("không có trường {unknown}; {vietnamese}"), format!("unknown field {unknown}; {english}"))
}

/// A section that is not known, and the known one that it was probably meant as.
pub fn section(message: &str) -> (Said, Option<&str>) {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let near = nearest(unknown, &known);
    let (vietnamese, english) = match near {
        Some(near) => (format!("có phải là [{near}]?"), format!("did you mean [{near}]?")),
        None => {
            let known = known.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(", ");
            (format!("có các mục: {known}"), format!("known are: {known}"))
        }
    };
    let vietnamese = format!("không có mục [{unknown}]; {vietnamese}");
    (Said::new(vietnamese, format!("unknown section [{unknown}]; {english}")), near)
}

/// Code and sentence of anything else that is refused.
pub fn refused(message: &str) -> (&'static str, Said) {
    let found = |what: &str| message.strip_prefix(what).and_then(|rest| rest.split_once(", expected "));
    let (code, kind, written) = match (found("invalid type: "), found("invalid value: ")) {
        (Some((written, expected)), _) => ("config.type", Some(expected), written),
        (None, Some((written, expected))) => ("config.range", Some(expected), written),
        (None, None) => ("config.invalid", None, ""),
    };
    let mend = KINDS.iter().find(|(words, ..)| words.iter().any(|word| kind.unwrap_or(message).contains(word)));
    let (vietnamese, english) = mend.map_or(("", ""), |(_, vietnamese, english)| (vietnamese, english));
    let joined = |text: &str, mend: &str| if mend.is_empty() { text.to_owned() } else { format!("{text}; {mend}") };
    let vietnamese = match kind {
        Some(_) => joined(&format!("giá trị đã ghi không hợp lệ ({written})"), vietnamese),
        None => joined(&format!("không hợp lệ ({message})"), vietnamese),
    };
    (code, Said::new(vietnamese, joined(message, english)))
}

/// Text that is no TOML.
pub fn syntax(message: &str) -> Said {
    Said::new(
        format!("sai cú pháp TOML ({message}); viết như trong config/*.toml, chữ nằm trong dấu nháy kép"),
        format!("this is no TOML ({message}); write it as in config/*.toml, with text in quotes"),
    )
}

/// The known name that differs in the fewest letters, if that is at most a third of them (and one).
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = unknown.chars().count() / 3 + 1;
    known
        .iter()
        .map(|name| (distance(unknown, name), *name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's.
fn distance(from: &str, to: &str) -> usize {
    // Longer ones are no misspelling of anything here, and would take the square of their length.
    let from = from.chars().take(LONGEST);
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&to) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(letter != *other));
            diagonal = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = above + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// How to write what was expected: words in serde's own message, and the mend.
type Kind = (&'static [&'static str], &'static str, &'static str);

const KINDS: &[Kind] = &[
    (
        &["socket address"],
        "ghi địa chỉ và cổng, ví dụ \"0.0.0.0:7460\"",
        "write an address and a port, such as \"0.0.0.0:7460\"",
    ),
    (&["timezone"], "ghi múi giờ như \"Asia/Ho_Chi_Minh\"", "write a zone such as \"Asia/Ho_Chi_Minh\""),
    (&["a boolean"], "ghi true hoặc false, không có dấu nháy", "write true or false, without quotes"),
    (&["a sequence"], "ghi danh sách, ví dụ [\"a\", \"b\"]", "write a list, such as [\"a\", \"b\"]"),
    (&["struct "], "ghi thành một mục riêng, ví dụ [parent]", "write it as a section, such as [parent]"),
    (&["f64", "f32"], "ghi một số, không có dấu nháy", "write a number, without quotes"),
    (
        &["u8", "u16", "u32", "u64", "i32", "i64"],
        "ghi một số nguyên trong khoảng cho phép, không có dấu nháy",
        "write a whole number that is neither negative nor huge, without quotes",
    ),
    (&["string"], "ghi chữ trong dấu nháy kép", "write text in quotes"),
];
/// Letters of a name that are compared.
const LONGEST: usize = 64;
