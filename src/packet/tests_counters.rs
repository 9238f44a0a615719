//! The list of counters: balance, names, and the page of docs.

use super::counters::*;
use std::collections::HashSet;

#[test]
fn names_are_unique_and_snake_case() {
    let names: Vec<_> = Counters::default().iter().map(|(name, _)| name).collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), COUNTERS);
    for name in names {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
    }
}

#[test]
fn the_page_of_counters_has_a_row_for_each_and_no_other() {
    let mut page = String::from(
        "# Counters\n\nEvery packet that goes no further is counted under its reason; `turnout counters` shows them.\n\n\
         At every burst boundary: `rx_packets + originated + fragments_made + handed_in + from_host` = `tx_packets + local + held + handed_out + to_host` + all drops.\n",
    );
    let rows = |title: &str, rows: Vec<(&str, &str)>| {
        let rows: String = rows.iter().map(|(n, m)| format!("| `{n}` | {} |\n", m.trim())).collect();
        format!("\n## {title}\n\n| counter | meaning |\n|---|---|\n{rows}")
    };
    page += &rows("Counts", Stat::ALL.iter().map(|s| (s.name(), s.meaning())).collect());
    page += &rows("Drops", DropReason::ALL.iter().map(|r| (r.name(), r.meaning())).collect());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/counters.md");
    if std::env::var_os("TURNOUT_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "run once with TURNOUT_WRITE_DOCS=1");
}
