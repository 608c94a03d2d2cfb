//! The command line's help and its refusals in Vietnamese. Clap has them in English: what it shows of each command and
//! argument stands in `help.table` by its name, and what it finds wrong is said anew from what it found.
use super::text::Language;
use clap::builder::{Str, StyledStr};
use clap::error::{ContextKind, ContextValue, Error, ErrorFormatter, ErrorKind};
use clap::{Arg, Command};
use std::error::Error as _;

/// The whole command line in a language; it can be parsed with as before.
pub fn in_language(mut command: Command, language: Language) -> Command {
    if language == Language::English {
        return command;
    }
    // Clap's own arguments and `help` are there from now on.
    command.build();
    translate(command, "")
}

/// Says what is wrong with a command line, or shows what was asked for, and ends.
pub fn refuse(error: clap::Error, language: Language) -> ! {
    match language {
        Language::English => error.exit(),
        Language::Vietnamese => error.apply::<Vietnamese>().exit(),
    }
}

/// `path`: names of the commands that lead here, without `help`, whose commands are those of all.
fn translate(command: Command, path: &str) -> Command {
    let usage = |mut command: Command| {
        let usage = command.render_usage().to_string();
        let usage = usage.strip_prefix("Usage:").unwrap_or(&usage).trim().replace("[OPTIONS]", "[TÙY_CHỌN]");
        command.override_usage(usage)
    };
    let mut command = command
        .subcommand_help_heading("Các lệnh")
        .subcommand_value_name("LỆNH")
        .help_template("{about-with-newline}\nCách dùng: {usage}\n\n{all-args}{after-help}");
    if let Some(about) = about(path) {
        command = command.about(about);
    }
    let command = usage(command.mut_args(|arg| argument(arg, path)));
    command.mut_subcommands(|below| {
        let name = below.get_name();
        let path = match path {
            "" | "help" => name.to_owned(),
            above => format!("{above} {name}"),
        };
        translate(below, &path)
    })
}

fn argument(arg: Arg, path: &str) -> Arg {
    let id = arg.get_id().as_str().to_owned();
    let mut text = help(path, &id).unwrap_or_default().to_owned();
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        text += &format!(" [mặc định: {}]", defaults.join(" "));
    }
    if let Some(name) = arg.get_env() {
        text += &format!(" [biến môi trường: {}]", name.to_string_lossy());
    }
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !values.is_empty() && arg.get_action().takes_values() {
        text += &format!(" [giá trị: {}]", values.join(", "));
    }
    let heading = if arg.is_positional() { "Tham số" } else { "Tùy chọn" };
    let named: Vec<Str> = arg.get_value_names().unwrap_or_default().iter().map(value_name).collect();
    let arg = arg.help(text).long_help(None::<&'static str>).help_heading(heading);
    let arg = arg.hide_default_value(true).hide_env(true).hide_possible_values(true);
    match arg.get_action().takes_values() && !named.is_empty() {
        true => arg.value_names(named),
        false => arg,
    }
}

fn about(path: &str) -> Option<&'static str> {
    find(path)
}

/// Of one command's argument, or of one that is the same in all.
fn help(path: &str, id: &str) -> Option<&'static str> {
    find(&format!("{path}.{id}")).or_else(|| find(&format!(".{id}")))
}

fn find(key: &str) -> Option<&'static str> {
    TABLE.iter().find(|(known, _)| *known == key).map(|(_, text)| *text)
}

fn value_name(english: &Str) -> Str {
    let known = VALUES.iter().find(|(known, _)| *known == english.as_str());
    known.map_or_else(|| english.clone(), |(_, vietnamese)| Str::from(*vietnamese))
}

/// What clap found wrong, in Vietnamese.
pub struct Vietnamese;

impl ErrorFormatter for Vietnamese {
    fn format_error(error: &Error<Self>) -> StyledStr {
        let mut text = format!("lỗi: {}\n", wrong(error));
        let suggested = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
        let near: Vec<String> = suggested.into_iter().flat_map(|kind| shown(error, kind)).collect();
        if !near.is_empty() {
            text += &format!("\n  có phải là {}?\n", near.join(", "));
        }
        if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
            let usage = usage.to_string();
            text += &format!("\nCách dùng: {}\n", usage.strip_prefix("Usage:").unwrap_or(&usage).trim());
        }
        (text + "\nXem thêm: '--help'.\n").into()
    }
}

fn wrong(error: &Error<Vietnamese>) -> String {
    let one = |kind| shown(error, kind).join(", ");
    let (arg, value) = (one(ContextKind::InvalidArg), one(ContextKind::InvalidValue));
    match error.kind() {
        ErrorKind::InvalidValue if value == "''" => format!("thiếu giá trị cho {arg}{}", values(error)),
        ErrorKind::InvalidValue => format!("giá trị {value} của {arg} không hợp lệ{}", values(error)),
        ErrorKind::ValueValidation => match error.source() {
            Some(why) => format!("giá trị {value} của {arg} không hợp lệ: {why}"),
            None => format!("giá trị {value} của {arg} không hợp lệ"),
        },
        ErrorKind::UnknownArgument => format!("không có tham số {arg}"),
        ErrorKind::InvalidSubcommand => format!("không có lệnh {}", one(ContextKind::InvalidSubcommand)),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "thiếu lệnh".to_owned(),
        ErrorKind::MissingRequiredArgument => format!("còn thiếu: {arg}"),
        ErrorKind::NoEquals => format!("phải có dấu bằng trước giá trị của {arg}"),
        ErrorKind::TooManyValues => format!("thừa giá trị {value} cho {arg}"),
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!(
                "số giá trị của {arg} không đúng: cần {}",
                one(ContextKind::MinValues) + &one(ContextKind::ExpectedNumValues)
            )
        }
        ErrorKind::ArgumentConflict => match one(ContextKind::PriorArg) {
            other if other == arg => format!("{arg} chỉ được dùng một lần"),
            other if other.is_empty() => format!("{arg} không dùng được cùng các tham số khác"),
            other => format!("{arg} không dùng được cùng {other}"),
        },
        ErrorKind::InvalidUtf8 => "tham số không phải là UTF-8".to_owned(),
        // It has no more to say of itself than this.
        other => other.as_str().map_or_else(|| "dòng lệnh không hợp lệ".to_owned(), str::to_owned),
    }
}

fn values(error: &Error<Vietnamese>) -> String {
    match shown(error, ContextKind::ValidValue) {
        known if known.is_empty() => String::new(),
        known => format!("; dùng một trong: {}", known.join(", ")),
    }
}

/// What clap found of this kind, each between quotes.
fn shown(error: &Error<Vietnamese>, kind: ContextKind) -> Vec<String> {
    let quoted = |text: &str| format!("'{}'", text.chars().filter(|letter| !letter.is_control()).collect::<String>());
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![quoted(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(|text| quoted(text)).collect(),
        Some(ContextValue::StyledStr(text)) => vec![quoted(&text.to_string())],
        Some(ContextValue::Number(number)) => vec![number.to_string()],
        _ => Vec::new(),
    }
}

/// `command`, `command.argument`, or `.argument` of any command.
const TABLE: &[(&str, &str)] = &include!("help.table");

/// Names of values, as they stand behind an argument; those that are alike in both languages stand too.
const VALUES: &[(&str, &str)] = &[
    ("AREA", "ĐỊA_BÀN"),
    ("AUTHORITY", "QUYỀN"),
    ("BPS", "BIT/GIÂY"),
    ("BROADCAST", "BUỔI_PHÁT"),
    ("BROADCASTS", "BUỔI_PHÁT"),
    ("BUNDLE", "TỆP_BÁO_CÁO"),
    ("CODE", "MÃ"),
    ("COMMAND", "LỆNH"),
    ("COMPLEXITY", "ĐỘ_PHỨC_TẠP"),
    ("COUNT", "SỐ_LƯỢNG"),
    ("DAY", "NGÀY"),
    ("DAYS", "SỐ_NGÀY"),
    ("DB", "DB"),
    ("DBTP", "dBTP"),
    ("DEVICE", "THIẾT_BỊ"),
    ("DIR", "THƯ_MỤC"),
    ("ENTRIES", "CÁC_MỤC"),
    ("FILE", "TỆP"),
    ("FOLDER", "THƯ_MỤC"),
    ("HOURS", "GIỜ"),
    ("HOST:PORT", "MÁY:CỔNG"),
    ("ID", "MÃ"),
    ("JOBS", "SỐ_VIỆC"),
    ("K/N", "K/N"),
    ("KEY", "KHÓA"),
    ("LEVELING", "CÁCH_CHỈNH"),
    ("LOCK", "MÃ"),
    ("LUFS", "LUFS"),
    ("MINUTES", "SỐ_PHÚT"),
    ("MS", "MILI_GIÂY"),
    ("N", "SỐ"),
    ("NAME", "TÊN"),
    ("NODE", "NÚT"),
    ("OUT", "TỆP_RA"),
    ("PERCENT", "PHẦN_TRĂM"),
    ("PRIORITY", "MỨC"),
    ("PROGRAM", "CHƯƠNG_TRÌNH"),
    ("ROLE", "VAI_TRÒ"),
    ("SAMPLE:RATE:CHANNELS", "MẪU:TẦN_SỐ:SỐ_KÊNH"),
    ("SECONDS", "SỐ_GIÂY"),
    ("SEED", "SỐ"),
    ("SEGMENTS", "SỐ_CẤP"),
    ("SHARDS", "SỐ_SHARD"),
    ("SHELL", "SHELL"),
    ("SOURCE", "NGUỒN"),
    ("TEXT", "CHỮ"),
    ("TIERS", "SỐ_CẤP"),
    ("TIME", "GIỜ"),
    ("TITLE", "TÊN"),
];

#[cfg(test)]
#[path = "help/tests.rs"]
mod tests;
