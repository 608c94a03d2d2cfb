//! What somebody asks of receipts: of one broadcast, of an area, of a period.
use crate::broadcast::Area;
use crate::control::text::Failure;
use crate::control::when;
use crate::time::Civil;
use axum::http::Uri;
use uuid::Uuid;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    pub broadcast: Option<Uuid>,
    /// And all within it.
    pub area: Option<Area>,
    /// What was on the air at some time between the two.
    pub from: Option<Civil>,
    pub to: Option<Civil>,
}

/// And whether a sheet is wanted.
pub fn read(uri: &Uri) -> Result<(Ask, bool), Failure> {
    let wrong = |what: &dyn std::fmt::Display| Failure::new("request.query", [what]);
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = pairs.map_err(|error| wrong(&error.body_text()))?.0;
    let (mut ask, mut sheet) = (Ask::default(), false);
    let time = |text: &str| when::rfc3339(text).ok_or_else(|| Failure::new("broadcast.time", [&format!("{text:?}")]));
    for (name, value) in pairs {
        match name.as_str() {
            "broadcast" => {
                let id = value.parse().map_err(|_| Failure::new("broadcast.id", [&format!("{value:?}")]))?;
                ask.broadcast = Some(id);
            }
            "area" => {
                ask.area = Some(value.parse().map_err(|error: String| Failure::from_room("area.invalid", error))?);
            }
            "from" => ask.from = Some(time(&value)?),
            "to" => ask.to = Some(time(&value)?),
            "format" if value == "csv" => sheet = true,
            "format" if value == "json" => sheet = false,
            _ => {
                return Err(wrong(&format!(
                    "{name}={value} is not known here; broadcast, area, from, to and format=csv are"
                )));
            }
        }
    }
    Ok((ask, sheet))
}

impl Ask {
    /// As the query has it.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let time = |at: Civil| when::show(at, chrono_tz::UTC);
        [
            ("broadcast", self.broadcast.map(|id| id.to_string())),
            ("area", self.area.as_ref().map(Area::to_string)),
            ("from", self.from.map(time)),
            ("to", self.to.map(time)),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_read_as_it_was_written_and_nothing_else_is() {
        let ask = Ask {
            broadcast: Some(Uuid::from_u128(7)),
            area: Some("vn/01".parse().unwrap()),
            from: Some(Civil(1_795_305_600_000_000)),
            to: Some(Civil(1_795_305_600_000_001)),
        };
        let query: Vec<String> = ask.pairs().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let uri = format!("/v1/receipts?{}&format=csv", query.join("&").replace('+', "%2B"));
        assert_eq!(read(&uri.parse().unwrap()), Ok((ask, true)));
        for (wrong, code) in [
            ("?areas=vn", "request.query"),
            ("?area=VN", "area.invalid"),
            ("?broadcast=x", "broadcast.id"),
            ("?from=yesterday", "broadcast.time"),
            ("?format=xls", "request.query"),
        ] {
            let uri = format!("/v1/receipts{wrong}").parse().unwrap();
            assert_eq!(read(&uri).unwrap_err().code, code, "{wrong}");
        }
    }
}
