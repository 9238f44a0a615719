//! `sessions`, `neighbors`, `counters`: the long lists.
//!
//! Sessions may be millions: they are printed as they come, in tables of a few hundred rows, or as one JSON array
//! that is never held whole.

use serde_json::Value;

use super::Error;
use super::args::{CounterArgs, Talk};
use super::output::{Colour, Screen, bytes, number, plain, rows, seconds, shown, text};
use super::session_args::{KillArgs, SessionArgs};
use super::table::{Cell, Column, Table, left, right};
use crate::manage::protocol::{ClientError, Request, ask, ask_one};

const ROWS_AT_ONCE: usize = 500;

const SESSIONS: &[Column] = &[
    left("PROTO", 0),
    left("INSIDE", 0),
    left("OUTSIDE", 0),
    left("REMOTE", 0),
    left("WAN", 3),
    left("STATE", 2),
    right("IDLE", 1),
    right("BYTES", 4),
];

pub(super) fn sessions(args: &SessionArgs, screen: &mut Screen) -> Result<(), Error> {
    let request = Request::Sessions(args.filter.filter(args.limit));
    let asking = |each: &mut dyn FnMut(Value) -> bool| ask(&args.talk.socket, &request, each);
    if args.talk.json { stream_json(screen, asking) } else { stream_sessions(screen, asking) }
}

pub(super) fn kill(args: &KillArgs, screen: &mut Screen) -> Result<(), Error> {
    let request = Request::Kill { filter: args.filter.filter(None), all: args.all };
    let answer = ask_one(&args.talk.socket, &request)?;
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    let ended = match number(&answer, "killed") {
        Some(1) => "1 session ended".to_owned(),
        Some(n) => format!("{n} sessions ended"),
        None => "sessions ended".to_owned(),
    };
    Ok(screen.line(&ended)?)
}

/// Takes items from `asking` until it is done or `each` fails.
fn stream(
    asking: impl FnOnce(&mut dyn FnMut(Value) -> bool) -> Result<(), ClientError>,
    mut each: impl FnMut(Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut result = Ok(());
    asking(&mut |item| {
        result = each(item);
        result.is_ok()
    })?;
    result
}

fn stream_json(
    screen: &mut Screen,
    asking: impl FnOnce(&mut dyn FnMut(Value) -> bool) -> Result<(), ClientError>,
) -> Result<(), Error> {
    // a router that cannot be reached prints nothing
    let mut first = true;
    stream(asking, |item| {
        screen.raw(if first { "[" } else { "," })?;
        first = false;
        Ok(screen.raw(&item.to_string())?)
    })?;
    Ok(screen.line(if first { "[]" } else { "]" })?)
}

fn stream_sessions(
    screen: &mut Screen,
    asking: impl FnOnce(&mut dyn FnMut(Value) -> bool) -> Result<(), ClientError>,
) -> Result<(), Error> {
    let mut table = Table::new(SESSIONS);
    let mut total = 0u64;
    stream(asking, |item| {
        total += 1;
        table.push(session(&item));
        if table.len() == ROWS_AT_ONCE {
            table.print(screen)?;
            table = Table::new(SESSIONS);
        }
        Ok(())
    })?;
    if total == 0 {
        return Ok(screen.line("no sessions")?);
    }
    if table.len() > 0 {
        table.print(screen)?;
    }
    let total = if total == 1 { "1 session".to_owned() } else { format!("{total} sessions") };
    Ok(screen.line(&screen.paint(Some(Colour::Dim), &total))?)
}

fn session(item: &Value) -> Vec<Cell> {
    let both = match (number(item, "rx_bytes"), number(item, "tx_bytes")) {
        (None, None) => None,
        (rx, tx) => Some(rx.unwrap_or(0).saturating_add(tx.unwrap_or(0))),
    };
    vec![
        text(item, "protocol").into(),
        text(item, "inside").into(),
        text(item, "outside").into(),
        text(item, "remote").into(),
        text(item, "wan").into(),
        text(item, "state").into(),
        shown(item, "idle_s", seconds).into(),
        both.map_or("-".to_owned(), bytes).into(),
    ]
}

pub(super) fn neighbors(talk: &Talk, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&talk.socket, &Request::Neighbors)?;
    if talk.json { Ok(screen.json(&answer)?) } else { show_neighbors(&answer, screen) }
}

fn show_neighbors(answer: &Value, screen: &mut Screen) -> Result<(), Error> {
    const COLUMNS: &[Column] =
        &[left("INTERFACE", 0), left("ADDRESS", 0), left("MAC", 0), left("STATE", 1), right("AGE", 2)];
    if rows(answer).is_empty() {
        return Ok(screen.line("no neighbors")?);
    }
    let mut table = Table::new(COLUMNS);
    for neighbor in rows(answer) {
        table.push(vec![
            text(neighbor, "interface").into(),
            text(neighbor, "address").into(),
            text(neighbor, "mac").into(),
            text(neighbor, "state").into(),
            shown(neighbor, "age_s", seconds).into(),
        ]);
    }
    Ok(table.print(screen)?)
}

pub(super) fn counters(args: &CounterArgs, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&args.talk.socket, &Request::Counters)?;
    match (args.talk.json, args.all) {
        (true, _) => Ok(screen.json(&answer)?),
        (false, true) => show_counters(&answer, true, screen),
        (false, false) => show_counters(&answer, false, screen),
    }
}

fn show_counters(answer: &Value, all: bool, screen: &mut Screen) -> Result<(), Error> {
    const COLUMNS: &[Column] = &[left("COUNTER", 0), right("VALUE", 0)];
    let mut table = Table::new(COLUMNS);
    let mut zeros = 0;
    for (name, value) in answer.as_object().into_iter().flatten() {
        if !all && value.as_u64() == Some(0) {
            zeros += 1;
            continue;
        }
        let colour = name.starts_with("drop_").then_some(Colour::Yellow);
        let name = plain(&Value::String(name.clone()));
        table.push(vec![Cell::painted(name, colour), plain(value).into()]);
    }
    if table.len() > 0 {
        table.print(screen)?;
    } else if zeros == 0 {
        return Ok(screen.line("no counters")?);
    }
    if zeros > 0 {
        let note = format!("({zeros} more are zero; --all shows them)");
        screen.line(&screen.paint(Some(Colour::Dim), &note))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::printed;
    use super::*;
    use serde_json::json;

    fn list(value: &Value, screen: &mut Screen) -> Result<(), Error> {
        stream_sessions(screen, |each| {
            let _ = rows(value).iter().all(|item| each(item.clone()));
            Ok(())
        })
    }

    fn sample() -> Value {
        json!({"protocol": "tcp", "inside": "192.168.10.5:50000", "outside": "203.0.113.2:40021",
               "remote": "9.9.9.9:443", "wan": "isp1", "state": "established", "age_s": 9, "idle_s": 3,
               "rx_packets": 1, "tx_packets": 2, "rx_bytes": 1_000_000, "tx_bytes": 400_000, "worker": 0})
    }

    #[test]
    fn sessions_line_up_and_are_counted() {
        let lines = printed(&json!([sample()]), list);
        assert_eq!(
            lines,
            [
                "PROTO  INSIDE              OUTSIDE            REMOTE       STATE        IDLE",
                "tcp    192.168.10.5:50000  203.0.113.2:40021  9.9.9.9:443  established    3s",
                "(no room for BYTES, WAN; --json has all)",
                "1 session",
            ]
        );
        assert_eq!(printed(&json!([]), list), ["no sessions"]);
    }

    #[test]
    fn the_longest_sessions_and_those_of_no_shape_fit() {
        let mut long = sample();
        for key in ["inside", "outside", "remote"] {
            long[key] = json!("192.168.100.100:65535");
        }
        for key in ["idle_s", "rx_bytes", "tx_bytes"] {
            long[key] = json!(u64::MAX);
        }
        let lines = printed(&json!([long, null, 5, {}]), list);
        assert!(lines[1].contains("192.168.100.100:65535  192.168.100.100:65535  192.168.100.100:65535"));
        let lines = printed(&Value::Array(vec![sample(); 1200]), list);
        assert_eq!(lines.last().unwrap(), "1200 sessions");
        assert_eq!(lines.iter().filter(|line| line.starts_with("PROTO")).count(), 3);
    }

    #[test]
    fn json_of_a_stream_is_one_array() {
        for n in [0, 1, 3] {
            let mut out = Vec::new();
            let items = vec![sample(); n];
            let given = items.clone();
            stream_json(&mut Screen::new(&mut out, false), |each| {
                given.into_iter().for_each(|item| assert!(each(item)));
                Ok(())
            })
            .unwrap();
            assert!(out.ends_with(b"]\n"));
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), Value::Array(items));
        }
    }

    #[test]
    fn neighbors_and_counters_line_up() {
        let lines = printed(
            &json!([{"interface": "isp1", "address": "203.0.113.1", "mac": "00:25:90:aa:bb:cc",
                     "state": "reachable", "age_s": 70}]),
            show_neighbors,
        );
        assert_eq!(lines[1], "isp1       203.0.113.1  00:25:90:aa:bb:cc  reachable  1m10s");
        assert_eq!(printed(&json!(null), show_neighbors), ["no neighbors"]);

        let some = json!({"rx_packets": 12, "drop_no_route": 3, "drop_ttl": 0});
        let lines = printed(&some, |value, screen| show_counters(value, false, screen));
        assert_eq!(
            lines,
            [
                "COUNTER        VALUE",
                "rx_packets        12",
                "drop_no_route      3",
                "(1 more are zero; --all shows them)"
            ]
        );
        let lines = printed(&some, |value, screen| show_counters(value, true, screen));
        assert_eq!(lines.len(), 4);
        let long = json!({"n".repeat(100): u64::MAX, "x": null});
        printed(&long, |value, screen| show_counters(value, true, screen));
        assert_eq!(printed(&json!([]), |v, s| show_counters(v, false, s)), ["no counters"]);
    }
}
