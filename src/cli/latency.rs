//! `latency`: how long packets are in the router, by worker, and a line of it for `status`.

use serde_json::Value;

use super::Error;
use super::args::Talk;
use super::output::{Colour, Screen, count, nanos, number, rows, shown, text, wrap};
use super::table::{Cell, Column, Table, left, right};
use crate::manage::protocol::{Request, ask_one};

/// What is told of each worker, and of all.
const SPANS: [&str; 6] = ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns", "longest_turn_ns"];

pub(super) fn latency(talk: &Talk, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&talk.socket, &Request::Latency)?;
    if talk.json { Ok(screen.json(&answer)?) } else { show_latency(&answer, screen) }
}

fn show_latency(answer: &Value, screen: &mut Screen) -> Result<(), Error> {
    const COLUMNS: &[Column] = &[
        left("WORKER", 0),
        right("CORE", 2),
        right("PACKETS", 0),
        right("P50", 0),
        right("P90", 1),
        right("P99", 0),
        right("P99.9", 0),
        right("MAX", 0),
        right("TURN", 0),
    ];
    if number(answer, "packets").unwrap_or(0) == 0 {
        return Ok(screen.line("no packets yet")?);
    }
    let mut table = Table::new(COLUMNS);
    let workers = rows(answer.get("workers").unwrap_or(&Value::Null));
    for worker in workers {
        table.push(row([text(worker, "worker"), text(worker, "core")], worker));
    }
    if workers.len() != 1 {
        table.push(row(["all".to_owned(), String::new()], answer));
    }
    table.print(screen)?;
    screen.line("")?;
    for line in ["from receive to send, since the start", "TURN: the longest turn with packets"] {
        let line = screen.paint(Some(Colour::Dim), line);
        screen.line(&line)?;
    }
    Ok(())
}

fn row(who: [String; 2], spans: &Value) -> Vec<Cell> {
    let cells = who.into_iter().chain([shown(spans, "packets", count)]);
    cells.chain(SPANS.map(|key| shown(spans, key, nanos))).map(Cell::from).collect()
}

/// The line of `status`; none if the router does not tell.
pub(super) fn in_short(latency: &Value) -> Vec<String> {
    if !latency.is_object() {
        return Vec::new();
    }
    let span = |key| shown(latency, key, nanos);
    let line = match number(latency, "max_ns") {
        Some(_) => format!(
            "latency   half within {}, 99 % within {}, longest {}",
            span("p50_ns"),
            span("p99_ns"),
            span("max_ns")
        ),
        None => "latency   no packets yet".to_owned(),
    };
    wrap(&line, 10)
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::printed;
    use super::*;
    use serde_json::json;

    fn spans(scale: u64) -> Value {
        json!({
            "packets": 1_234_567 * scale, "p50_ns": 950 * scale, "p90_ns": 1_200 * scale, "p99_ns": 2_000 * scale,
            "p999_ns": 40_000 * scale, "max_ns": 700_000 * scale, "longest_turn_ns": 800_000 * scale,
        })
    }

    fn worker(index: u64, scale: u64) -> Value {
        let mut row = spans(scale);
        row["worker"] = json!(index);
        row["core"] = json!(index + 2);
        row
    }

    #[test]
    fn each_worker_has_a_row_and_many_have_a_sum() {
        let mut all = spans(10);
        all["workers"] = json!([worker(0, 1), worker(1, 10)]);
        let lines = printed(&all, show_latency);
        assert_eq!(
            lines[..4],
            [
                "WORKER  CORE  PACKETS     P50      P90      P99     P99.9       MAX      TURN",
                "0          2    1.2 M  950 ns   1.2 us   2.0 us   40.0 us  700.0 us  800.0 us",
                "1          3   12.3 M  9.5 us  12.0 us  20.0 us  400.0 us    7.0 ms    8.0 ms",
                "all            12.3 M  9.5 us  12.0 us  20.0 us  400.0 us    7.0 ms    8.0 ms",
            ]
        );
        assert_eq!(
            lines[4..],
            ["", "from receive to send, since the start", "TURN: the longest turn with packets"]
        );
        all["workers"] = json!([worker(0, 10)]);
        let lines = printed(&all, show_latency);
        assert!(lines[1].starts_with("0 ") && lines[2].is_empty(), "{lines:?}");
    }

    #[test]
    fn before_the_first_packet_it_says_so() {
        let mut all = spans(0);
        all["workers"] = json!([worker(0, 0)]);
        assert_eq!(printed(&all, show_latency), ["no packets yet"]);
        assert_eq!(
            in_short(&json!({"p50_ns": null, "p99_ns": null, "max_ns": null})),
            ["latency   no packets yet"]
        );
        assert!(in_short(&Value::Null).is_empty());
    }

    #[test]
    fn the_largest_and_the_oddest_fit() {
        let mut all = spans(u64::MAX / 1_300_000);
        for key in SPANS.iter().chain(&["packets"]) {
            all[key] = json!(u64::MAX);
        }
        let mut row = all.clone();
        row["worker"] = json!(127);
        row["core"] = json!("x".repeat(90));
        all["workers"] = json!([row, 7, null, {"p50_ns": "x"}]);
        printed(&all, show_latency);
        for odd in [json!(null), json!([1]), json!({"packets": 3, "workers": {}})] {
            printed(&odd, show_latency);
        }
    }
}
