//! What a configuration may say beyond its types: ranges, forms, and what contradicts what.
mod timed;

use super::mistake::Said;
use super::read::Reading;
use super::{
    Children, Config, Parent, Playout, Sources, Telemetry, WITHOUT_SOUND, WITHOUT_TELEMETRY, is_source_specific,
    minute_of_day,
};
use crate::address::{Address, MOST_ADDRESSES};

/// Adds every rule that is broken.
pub fn check(config: &Config, found: &mut Reading<'_>) {
    if config.node.stored_mib.is_some_and(|stored| !(LEAST_STORED..=MOST_DATA).contains(&stored)) {
        found.wrong(
            RANGE,
            "node",
            "stored_mib",
            Said::new(
                format!("phải từ {LEAST_STORED} đến {MOST_DATA} MiB, hoặc bỏ trống"),
                format!("must be {LEAST_STORED} to {MOST_DATA} MiB, or left out"),
            ),
        );
    }
    if config.node.data.as_os_str().is_empty() {
        found.wrong(
            VALUE,
            "node",
            "data",
            Said::new(
                "đang để trống; ghi tên thư mục dữ liệu, ví dụ \"data\"",
                "is empty; name the data folder, such as \"data\"",
            ),
        );
    }
    sections(config, found);
    built(config, found);
    if let Some(parent) = &config.parent {
        of_parent(parent, found);
    }
    if let Some(children) = &config.children {
        of_children(children, found);
    }
    if let Some(sources) = &config.sources {
        of_sources(sources, found);
    }
    if let Some(playout) = &config.playout {
        of_playout(playout, found);
        of_volumes(playout, found);
    }
    timed::check(config, found);
    if !config.admin.listen.ip().is_loopback() {
        found.wrong(
            VALUE,
            "admin",
            "listen",
            Said::new(
                "phải là địa chỉ nội bộ, ví dụ \"127.0.0.1:9460\": cổng quản trị không hỏi mã truy cập",
                "must be a loopback address, such as \"127.0.0.1:9460\": the admin listener asks for no token",
            ),
        );
    }
    of_level("log", config.log.level.as_deref(), found);
    if let Some(telemetry) = &config.telemetry {
        of_telemetry(telemetry, found);
    }
}

/// What this build cannot do.
fn built(config: &Config, found: &mut Reading<'_>) {
    if cfg!(feature = "full") {
        return;
    }
    let said = Said::new(
        "bản loa này được dựng cho loa và nút chuyển tiếp nhỏ: dùng bản đầy đủ, hoặc bỏ mục này",
        "this loa was built for loudspeakers and bare relays: take a full one, or remove the section",
    );
    for (section, there) in [("sources", config.sources.is_some()), ("api", config.api.is_some())] {
        if there {
            found.wrong("config.not_built", section, "", said.clone());
        }
    }
}

/// What the sections make of the node; nothing is concluded where one was refused and may have been any of them.
fn sections(config: &Config, found: &mut Reading<'_>) {
    if !found.all_sections_sound() {
        return;
    }
    let (parent, sources) = (config.parent.is_some(), config.sources.is_some());
    if !parent && config.children.is_none() && !sources && config.playout.is_none() {
        found.wrong(
            "config.nothing",
            "node",
            "",
            Said::new(
                "nút này sẽ không làm gì: thêm [parent], [children], [sources] hoặc [playout]",
                "this node would do nothing: add [parent], [children], [sources] or [playout]",
            ),
        );
    }
    if config.playout.is_some() && !parent && !sources {
        found.wrong(
            CONFLICT,
            "playout",
            "",
            Said::new(
                "sẽ không bao giờ có tiếng ở đây: thêm [parent] là nơi lệnh và âm thanh đến, hoặc [sources]",
                "nothing could ever sound here: add [parent], which orders and sound come from, or [sources]",
            ),
        );
    }
    if config.enrol.is_some() && !parent {
        found.wrong(
            CONFLICT,
            "enrol",
            "",
            Said::new(
                "không có [parent] thì không biết hỏi chứng chỉ ở đâu: thêm [parent], hoặc bỏ mục này",
                "without a [parent] there is nobody to ask for a certificate: add [parent], or remove it",
            ),
        );
    }
    if config.api.is_some() && !sources && config.children.is_none() {
        found.wrong(
            CONFLICT,
            "api",
            "",
            Said::new(
                "có API nhưng không có [sources] hay [children] thì không có gì để điều khiển: bỏ mục này, hoặc thêm một mục kia",
                "an API without [sources] or [children] has nothing to command or show: remove it, or add one",
            ),
        );
    }
    if let Some(api) = &config.api
        && let Some(database) = &api.database
        && !["postgres://", "postgresql://"].iter().any(|scheme| database.starts_with(scheme))
    {
        found.wrong(
            VALUE,
            "api",
            "database",
            Said::new(
                "chỉ dùng được postgres://NGƯỜI_DÙNG@MÁY/TÊN; bỏ dòng này thì dùng SQLite trong thư mục dữ liệu",
                "must be postgres://USER@HOST/NAME; left out, it is SQLite in the data folder",
            ),
        );
    }
    if let Some(api) = &config.api
        && !(1..=KEEP_DAYS).contains(&api.keep_days)
    {
        found.wrong(
            RANGE,
            "api",
            "keep_days",
            Said::new(format!("phải từ 1 đến {KEEP_DAYS} ngày"), format!("must be 1 to {KEEP_DAYS} days")),
        );
    }
    if let Some(api) = &config.api
        && api.listen.port() != 0
        && config.admin.listen == api.listen
    {
        found.wrong(
            CONFLICT,
            "api",
            "listen",
            Said::new(
                "trùng với [admin] listen; chọn cổng khác",
                "is the address of [admin] listen too; choose another port",
            ),
        );
    }
}

/// Ten years: beyond, an archive is the place.
const KEEP_DAYS: u32 = 3_660;

fn of_parent(parent: &Parent, found: &mut Reading<'_>) {
    if !(1..=MOST_PARENTS).contains(&parent.addresses.len()) {
        found.wrong(
            RANGE,
            "parent",
            "addresses",
            Said::new(
                format!("phải nêu từ 1 đến {MOST_PARENTS} nút cha"),
                format!("must name 1 to {MOST_PARENTS} parents"),
            ),
        );
    }
    if !(1..=MOST_SHARDS).contains(&parent.shards) {
        found.wrong(
            RANGE,
            "parent",
            "shards",
            Said::new(
                format!("phải từ 1 đến {MOST_SHARDS}, đúng như của nút cha"),
                format!("must be 1 to {MOST_SHARDS}, as the parent has"),
            ),
        );
    }
    if parent.bitrate.is_some_and(|bitrate| !BITRATES.contains(&bitrate)) {
        found.wrong(RANGE, "parent", "bitrate", bits());
    }
    if parent.data_mib_per_day.is_some_and(|data| !(1..=MOST_DATA).contains(&data)) {
        found.wrong(
            RANGE,
            "parent",
            "data_mib_per_day",
            Said::new(
                format!("phải từ 1 đến {MOST_DATA} MiB, hoặc bỏ trống"),
                format!("must be 1 to {MOST_DATA} MiB, or left out"),
            ),
        );
    }
    of_addresses("parent", "addresses", &parent.addresses, parent.shards, found);
}

/// What can be dialled; `shards` of each, which are told of themselves if there are none.
fn of_addresses(table: &str, key: &str, hosts: &[String], shards: u16, found: &mut Reading<'_>) {
    for host in hosts {
        if let Err(wrong) = Address::new(host, shards.max(1)) {
            let (form, six) = ("\"relay.example:7460\"", "\"[2001:db8::1]:7460\"");
            let said = Said::new(
                format!("{:?} không phải máy:cổng, ví dụ {form} hoặc {six}", wrong.written()),
                wrong.to_string(),
            );
            found.wrong(VALUE, table, key, said);
        }
    }
}

fn of_children(children: &Children, found: &mut Reading<'_>) {
    let last = u32::from(children.listen.port()) + u32::from(children.shards);
    if !(1..=MOST_SHARDS).contains(&children.shards) {
        let said = Said::new(format!("phải từ 1 đến {MOST_SHARDS}"), format!("must be 1 to {MOST_SHARDS}"));
        found.wrong(RANGE, "children", "shards", said);
    } else if children.listen.port() != 0 && last > 65_536 {
        found.wrong(RANGE, "children", "listen", past());
    }
    if children.beats_per_second.is_some_and(|beats| !BEATS.contains(&beats)) {
        let said = Said::new(
            format!("phải từ {} đến {}", BEATS.start(), BEATS.end()),
            format!("must be {} to {}", BEATS.start(), BEATS.end()),
        );
        found.wrong(RANGE, "children", "beats_per_second", said);
    }
    if children.siblings.len() > MOST_ADDRESSES {
        let said = Said::new(
            format!("chỉ được nêu nhiều nhất {MOST_ADDRESSES} nút"),
            format!("must name at most {MOST_ADDRESSES}"),
        );
        found.wrong(RANGE, "children", "siblings", said);
    }
    of_addresses("children", "siblings", &children.siblings, children.shards, found);
    let Some(group) = children.multicast else {
        if children.interface.is_some() && found.is_sound("children.multicast") {
            let said = Said::new(
                "chỉ dùng với multicast; thêm multicast hoặc bỏ trường này",
                "is for multicast; add multicast, or remove it",
            );
            found.wrong(CONFLICT, "children", "interface", said);
        }
        return;
    };
    if !is_source_specific(group) {
        let ranges = "232.0.1.0 – 232.255.255.255, ff3x::/32";
        let said = Said::new(
            format!(
                "phải là nhóm theo nguồn ({ranges}) và cổng, ví dụ \"232.7.4.60:7470\" hoặc \"[ff35::8000:1]:7470\""
            ),
            "must be a source-specific group (232.0.1.0 to 232.255.255.255, or ff3x::/32) and a port, such as \"232.7.4.60:7470\" or \"[ff35::8000:1]:7470\"",
        );
        found.wrong(VALUE, "children", "multicast", said);
    } else if group.is_ipv6() && children.listen.is_ipv4() {
        let said =
            Said::new("là IPv6 còn listen là IPv4; dùng cùng một loại", "is IPv6 while listen is IPv4; use one family");
        found.wrong(CONFLICT, "children", "multicast", said);
    } else if u32::from(group.port()) + u32::from(children.shards) > 65_536 {
        found.wrong(RANGE, "children", "multicast", past());
    }
}

fn of_sources(sources: &Sources, found: &mut Reading<'_>) {
    let mut wrong = |code, key, vietnamese: String, english: String| {
        found.wrong(code, "sources", key, Said::new(vietnamese, english));
    };
    if !is_name(&sources.authority) {
        wrong(
            VALUE,
            "authority",
            "là tên gồm chữ, số, '-', '_' và '.', của tệp authorities/<tên>.key trong thư mục dữ liệu".into(),
            "is a name of letters, digits, '-', '_' and '.', for authorities/<name>.key in the data folder".into(),
        );
    }
    if sources.bitrate.is_some() && !sources.bitrates.is_empty() {
        wrong(
            CONFLICT,
            "bitrate",
            "nói lại điều bitrates đã nói; hãy bỏ đi".into(),
            "says again what bitrates says; remove it".into(),
        );
    }
    if sources.bitrate.is_some_and(|bitrate| !BITRATES.contains(&bitrate)) {
        let Said { vietnamese, english } = bits();
        wrong(RANGE, "bitrate", vietnamese, english);
    }
    let (bitrates, count) = (&sources.bitrates, sources.bitrates.len());
    if count > MOST_RENDITIONS || !bitrates.iter().all(|bitrate| BITRATES.contains(bitrate)) {
        wrong(
            RANGE,
            "bitrates",
            format!("gồm 1 đến {MOST_RENDITIONS} giá trị, tính bằng bit mỗi giây, mỗi giá trị từ 6000 đến 64000"),
            format!("are 1 to {MOST_RENDITIONS}, in bits per second, 6000 to 64000 each"),
        );
    }
    if (1..count).any(|at| bitrates[..at].contains(&bitrates[at])) {
        wrong(
            CONFLICT,
            "bitrates",
            "nêu một giá trị hai lần; bỏ bớt đi".into(),
            "names one of them twice; remove it".into(),
        );
    }
    if !(0..=10).contains(&sources.complexity) {
        wrong(RANGE, "complexity", "phải từ 0 đến 10".into(), "must be 0 to 10".into());
    }
    if !(-70.0..=0.0).contains(&sources.loudness) {
        wrong(RANGE, "loudness", "phải từ -70 đến 0 LUFS".into(), "must be -70 to 0 LUFS".into());
    }
    if !(-70.0..=0.0).contains(&sources.peak) {
        wrong(RANGE, "peak", "phải từ -70 đến 0 dBTP".into(), "must be -70 to 0 dBTP".into());
    }
    if !(-1..=60_000).contains(&sources.silence_ms) {
        wrong(
            RANGE,
            "silence_ms",
            "phải từ 0 đến 60000 mili giây, hoặc -1 để giữ mọi khoảng lặng".into(),
            "must be 0 to 60000 milliseconds, or -1 to leave all silence".into(),
        );
    }
    if sources.decoder.as_ref().is_some_and(|program| program.as_os_str().is_empty()) {
        wrong(
            VALUE,
            "decoder",
            "đang để trống; ghi tên chương trình như \"ffmpeg\", hoặc bỏ trường này".into(),
            "is empty; name a program such as \"ffmpeg\", or leave it out".into(),
        );
    }
}

fn of_playout(playout: &Playout, found: &mut Reading<'_>) {
    let mut wrong = |code, key, vietnamese: &str, english: &str| {
        found.wrong(code, "playout", key, Said::new(vietnamese, english));
    };
    let kind = playout.device.split_once(':').map_or(playout.device.as_str(), |(kind, _)| kind);
    if !is_device(&playout.device) {
        wrong(
            VALUE,
            "device",
            "phải là \"wav:TỆP\", \"pipe:LỆNH\", \"alsa:THIẾT_BỊ\" hoặc \"null\"",
            "must be \"wav:FILE\", \"pipe:COMMAND\", \"alsa:DEVICE\" or \"null\"",
        );
    } else if kind == "alsa" && !cfg!(feature = "sound") {
        wrong(
            NO_SOUND,
            "device",
            "bản loa này được dựng không có card âm thanh: dựng lại với --features sound",
            WITHOUT_SOUND,
        );
    }
    if !(-500.0..=500.0).contains(&playout.rate_error_ppm) {
        wrong(RANGE, "rate_error_ppm", "phải từ -500 đến 500 phần triệu", "must be -500 to 500 parts per million");
    } else if playout.rate_error_ppm != 0.0 && matches!(kind, "pipe" | "alsa") {
        wrong(
            CONFLICT,
            "rate_error_ppm",
            "thuộc về card âm thanh mô phỏng sau wav: và null; hãy bỏ đi",
            "is of the modelled sound card behind wav: and null; remove it",
        );
    }
}

/// Whether it has the form of a device, whatever this build can open.
pub fn is_device(device: &str) -> bool {
    let (kind, rest) = device.split_once(':').unwrap_or((device, ""));
    let named = !rest.trim().is_empty() && !rest.contains('\0');
    device == "null" || matches!(kind, "wav" | "pipe" | "alsa") && named
}

/// What `[playout]` says of loudness.
fn of_volumes(playout: &Playout, found: &mut Reading<'_>) {
    let mut wrong = |code, key, vietnamese: &str, english: &str| {
        found.wrong(code, "playout", key, Said::new(vietnamese, english));
    };
    let volumes = [
        ("normal_db", playout.normal_db),
        ("priority_db", playout.priority_db),
        ("emergency_db", playout.emergency_db),
    ];
    for (key, _) in volumes.into_iter().filter(|(_, volume)| !VOLUMES.contains(volume)) {
        wrong(RANGE, key, "phải từ -30 đến 0 dB; 0 là nguyên như nguồn", "must be -30 to 0 dB; 0 is as it came");
    }
    if !(LOWEST_FLOOR..=0.0).contains(&playout.emergency_floor_db) {
        wrong(
            RANGE,
            "emergency_floor_db",
            "phải từ -6 đến 0 dB: mức sàn của tin khẩn cấp chỉ được nâng, không được hạ",
            "must be -6 to 0 dB: the floor of emergencies may be raised, and not lowered",
        );
    } else if VOLUMES.contains(&playout.emergency_db) && playout.emergency_db < playout.emergency_floor_db {
        wrong(
            CONFLICT,
            "emergency_db",
            "thấp hơn emergency_floor_db; hãy nâng lên, hoặc bỏ trường này",
            "is below emergency_floor_db; raise it, or leave it out",
        );
    }
    let fits = |text: &str| minute_of_day(text).is_some();
    if playout.hours.len() > MOST_HOURS
        || !playout
            .hours
            .iter()
            .all(|hours| fits(&hours.from) && fits(&hours.until) && VOLUMES.contains(&hours.most_db))
    {
        wrong(
            VALUE,
            "hours",
            "gồm nhiều nhất 8 mục như { from = \"21:00\", until = \"06:00\", most_db = -12.0 }, mức từ -30 đến 0 dB",
            "are at most 8, each like { from = \"21:00\", until = \"06:00\", most_db = -12.0 }, with -30 to 0 dB",
        );
    }
    if playout.mute_switch.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
        wrong(
            VALUE,
            "mute_switch",
            "đang để trống; ghi tệp của công tắc như \"/sys/class/gpio/gpio17/value\", hoặc bỏ trường này",
            "is empty; name the switch's file such as \"/sys/class/gpio/gpio17/value\", or leave it out",
        );
    }
}

fn of_telemetry(telemetry: &Telemetry, found: &mut Reading<'_>) {
    if !cfg!(feature = "otel") {
        let said = Said::new(
            "bản loa này được dựng không có OpenTelemetry: dựng lại với --features otel, hoặc bỏ mục này",
            WITHOUT_TELEMETRY,
        );
        found.wrong("config.no_telemetry", "telemetry", "", said);
        return;
    }
    if !is_collector(&telemetry.otlp) {
        let said = Said::new(
            "phải là http://MÁY:CỔNG của bộ thu OpenTelemetry, ví dụ \"http://127.0.0.1:4318\", không có tên người \
             dùng hay câu hỏi; cần TLS thì đặt một bộ thu ngay trên máy này để chuyển tiếp",
            "must be http://HOST:PORT of an OpenTelemetry collector, such as \"http://127.0.0.1:4318\", without user \
             or query; where TLS is needed, a collector on this machine can forward by it",
        );
        found.wrong(VALUE, "telemetry", "otlp", said);
    }
    of_level("telemetry", telemetry.level.as_deref(), found);
}

fn of_level(section: &str, level: Option<&str>, found: &mut Reading<'_>) {
    if level.is_some_and(|level| !is_filter(level)) {
        found.wrong(
            VALUE,
            section,
            "level",
            Said::new(
                "phải là error, warn, info, debug hoặc trace, hay bộ lọc như \"info,loa::io=debug\"",
                "must be error, warn, info, debug or trace, or a filter such as \"info,loa::io=debug\"",
            ),
        );
    }
}

fn bits() -> Said {
    Said::new("tính bằng bit mỗi giây, từ 6000 đến 64000", "is in bits per second, 6000 to 64000")
}

fn past() -> Said {
    Said::new("cổng + shards vượt quá 65535; chọn cổng thấp hơn", "port + shards goes past 65535; choose a lower port")
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && !text.starts_with('.') && text.len() <= 64 && text.chars().all(plain)
}

fn is_filter(level: &str) -> bool {
    // A word alone is a level: as the name of a part of the program, which it may be too, it would say nothing.
    let known = |part: &str| part.contains(['=', ':']) || part.trim().parse::<tracing::metadata::LevelFilter>().is_ok();
    // What is said of a span's fields is a regular expression there: a line of text takes minutes to become a machine.
    let plain = |c: char| c.is_ascii_alphanumeric() || "_:=,- ".contains(c);
    level.chars().all(plain)
        && level.split(',').all(known)
        && tracing_subscriber::EnvFilter::builder().parse(level).is_ok()
}

/// What can be dialled without TLS, with a path behind it or none; a user or a query would be a secret in a file that
/// others may read.
fn is_collector(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |text: &str, marks: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c));
    Address::new(host, 1).is_ok() && url.len() <= LONGEST_URL && plain(host, "-_.:[]") && plain(path, "-_.~/")
}

/// A sound card, which this build cannot use.
pub const NO_SOUND: &str = "config.no_sound";
const RANGE: &str = "config.range";
const VALUE: &str = "config.invalid";
const CONFLICT: &str = "config.conflict";
/// Fewer, and a thousand children would have no clock; more, and a core has no time for anything else.
const BEATS: std::ops::RangeInclusive<u32> = 200..=40_000;
/// As settings have them.
const VOLUMES: std::ops::RangeInclusive<f64> = -30.0..=0.0;
const LOWEST_FLOOR: f64 = -6.0;
const MOST_HOURS: usize = 8;
/// More shards than any machine has cores for; a larger number is a typing mistake.
const MOST_SHARDS: u16 = 256;
/// Opus, mono speech.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=64_000;
/// MiB in a day: a TiB, more than any link of a speaker carries.
const MOST_DATA: u64 = 1 << 20;
/// MiB: an hour and a half at 24 kb/s.
const LEAST_STORED: u64 = 16;
/// Bytes; a longer one is a typing mistake.
const LONGEST_URL: usize = 512;
/// As `audio::Options` takes.
const MOST_RENDITIONS: usize = 4;
/// A child keeps two sessions (DESIGN §4); spares beyond four were never wanted.
const MOST_PARENTS: usize = 4;
