//! What `[timetable]` and `[clock]` may say.
use super::{CONFLICT, RANGE, VALUE};
use crate::config::mistake::Said;
use crate::config::read::Reading;
use crate::config::{Config, Timetable, Trusted};

pub fn check(config: &Config, found: &mut Reading<'_>) {
    let Timetable { entries, policies, register, hours, streams, .. } = &config.timetable;
    let says = entries.is_some() || policies.is_some() || register.is_some() || !streams.is_empty();
    if says && (config.sources.is_none() || config.api.is_none()) && found.all_sections_sound() {
        let said = Said::new(
            "nút có lịch phát phải tự phát được và nghe lệnh của người: thêm [sources] và [api], hoặc bỏ mục này",
            "a node with a timetable must be able to speak, and be spoken to: add [sources] and [api], or remove it",
        );
        found.wrong(CONFLICT, "timetable", "", said);
    }
    if !HOURS.contains(hours) {
        let said = Said::new(
            format!("phải từ {} đến {} giờ: các trạm phải tự phát được ba ngày", HOURS.start(), HOURS.end()),
            format!("must be {} to {} hours: stations live through three days alone", HOURS.start(), HOURS.end()),
        );
        found.wrong(RANGE, "timetable", "hours", said);
    }
    for (name, source) in streams {
        let (http, pipe) = (source.strip_prefix("http://"), source.strip_prefix("pipe:"));
        let said = [http, pipe].into_iter().flatten().any(|rest| !rest.trim().is_empty() && !rest.contains('\0'));
        if !said || name.is_empty() || name.len() > LONGEST_NAME || source.len() > LONGEST_SOURCE {
            let said = Said::new(
                format!("{name:?} phải là \"http://MÁY/ĐƯỜNG_DẪN\" hoặc \"pipe:LỆNH\"; cần https thì dùng pipe:ffmpeg"),
                format!("{name:?} must be \"http://HOST/PATH\" or \"pipe:COMMAND\"; for https take pipe:ffmpeg"),
            );
            found.wrong(VALUE, "timetable", "streams", said);
        }
    }
    let clock = &config.clock;
    if clock.trusted == Trusted::Rtc && clock.error_ms.is_none() && found.is_sound("clock.error_ms") {
        let said = Said::new(
            "phải nêu error_ms: đồng hồ RTC có thể lệch bao nhiêu mili giây sau ba ngày mất mạng, ví dụ 2000",
            "must state error_ms: by how many milliseconds the RTC may be off after three days alone, such as 2000",
        );
        found.wrong(CONFLICT, "clock", "trusted", said);
    }
    if clock.trusted == Trusted::None && clock.error_ms.is_some() && found.is_sound("clock.trusted") {
        let said = Said::new(
            "chỉ dùng với trusted = \"rtc\", \"ntp\" hoặc \"gnss\"; thêm trusted hoặc bỏ trường này",
            "is for trusted = \"rtc\", \"ntp\" or \"gnss\"; add trusted, or remove it",
        );
        found.wrong(CONFLICT, "clock", "error_ms", said);
    }
    if clock.error_ms.is_some_and(|error| !ERROR.contains(&error)) {
        let said = Said::new(
            format!("phải từ {} đến {} mili giây", ERROR.start(), ERROR.end()),
            format!("must be {} to {} milliseconds", ERROR.start(), ERROR.end()),
        );
        found.wrong(RANGE, "clock", "error_ms", said);
    }
}

/// Three days to two weeks: grants are no longer.
const HOURS: std::ops::RangeInclusive<u16> = 72..=336;
/// ms: a receiver's, and a minute, beyond which a bulletin sounds beside its slot.
const ERROR: std::ops::RangeInclusive<u32> = 1..=60_000;
/// Bytes, as a title's.
const LONGEST_NAME: usize = 200;
/// Bytes of an address or a command.
const LONGEST_SOURCE: usize = 1_024;
