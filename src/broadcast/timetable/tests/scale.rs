//! A whole country.

use super::*;
use crate::broadcast::register::Unit;
use std::time::Instant;

/// 34 provinces, 3,321 communes.
fn country() -> Register {
    let unit = |code: String| Unit::new(code.parse().unwrap(), "vi", &format!("Đơn vị {code}"));
    let provinces = (0..34).map(|province| format!("vn/{province:02}"));
    let communes = (0..3_321).map(|commune| format!("vn/{:02}/{commune:05}", commune % 34));
    Register::new(std::iter::once("vn".to_owned()).chain(provinces).chain(communes).map(unit).collect()).unwrap()
}

#[test]
fn a_day_of_the_whole_country_is_planned_in_seconds() {
    let register = country();
    let mut entries = Vec::new();
    for (number, unit) in register.units().filter(|unit| unit.code.lineage().count() == 3).enumerate() {
        for slot in 0..10 {
            // Some of them stand in each other's way, and some in the nation's.
            let start = format!("2025-01-01T{:02}:{:02}", 5 + slot * 2 % 13, slot * 6);
            let number = (number * 10 + slot) as u64;
            entries.push(entry(
                number,
                &[unit.code.as_str()],
                rule(&start, "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;COUNT=1000"),
            ));
        }
    }
    entries.push(urgent(entry(90_000, &["vn"], rule("2025-01-01T17:00", "FREQ=DAILY"))));
    let policies =
        policies(r#"[{"area":"vn","quotas":[{"sessions":8}],"gap_minutes":2},{"area":"vn/07","longest_minutes":5}]"#);
    let (from, until) = (civil("2026-11-23T00:00:00+07:00"), civil("2026-11-24T00:00:00+07:00"));
    let began = Instant::now();
    let plan = plan(&entries, &policies, &register, &[area("vn")], from, until).unwrap();
    let took = began.elapsed();
    let began = Instant::now();
    let airings = plan.airings();
    println!(
        "planned {} places in {took:?}, their {} airings in {:?}",
        plan.places.len(),
        airings.len(),
        began.elapsed()
    );
    assert_eq!(plan.places.len(), 1 + 3_321 + 1);
    let items: usize = plan.places.iter().map(|place| place.sounding.len() + place.refused.len()).sum();
    assert_eq!(items, 33_210 + 3_321 + 2);
    assert!(plan.places.iter().any(|place| !place.refused.is_empty()));
    // Ten times what two slow cores need.
    assert!(took.as_secs() < 60, "{took:?}");
}

#[test]
fn a_register_of_every_cluster_is_read_and_asked_in_seconds() {
    let mut table = "code,name:vi,kind,zone\nvn,Việt Nam,country,Asia/Ho_Chi_Minh\n".to_owned();
    (0..34).for_each(|province| table.push_str(&format!("vn/{province:02},Tỉnh {province},province,\n")));
    for commune in 0..3_321 {
        let code = format!("vn/{:02}/{commune:05}", commune % 34);
        table.push_str(&format!("{code},Xã {commune},commune,\n"));
        (0..45).for_each(|cluster| table.push_str(&format!("{code}/{cluster:02},Cụm {cluster},cluster,\n")));
    }
    let began = Instant::now();
    let register = Register::from_csv(table.as_bytes()).unwrap();
    println!("read {} units in {:?}", register.len(), began.elapsed());
    let began = Instant::now();
    assert_eq!(register.find("xa 77", 5)[0].kind, "commune");
    let Err(wrong) = register.resolve(&area("vn/07/99999"), day("2026-11-23")) else { panic!() };
    assert!(wrong.said().to_string().contains("vn/07"));
    println!("found and missed in {:?}", began.elapsed());
    assert_eq!(register.zone(&area("vn/07/00007/44")).name(), "Asia/Ho_Chi_Minh");
    assert_eq!(register.cover(&[area("vn")], &[area("vn/07")], day("2026-11-23")).unwrap().len(), 33);
    assert!(began.elapsed().as_secs() < 30);
}
