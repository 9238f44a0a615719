//! `why`: the last failovers, each with its cause, the evidence, what moved, and how long it took. `explain`: what would become of a packet.

use serde_json::Value;

use super::Error;
use super::args::{ExplainArgs, WhyArgs};
use super::events::{epoch, moment};
use super::output::{Colour, NOTHING, Screen, micros, number, plain, rows, text, wrap};
use crate::manage::protocol::{Request, ask_one};

/// Where the second column begins.
const INDENT: usize = 12;

pub(super) fn why(args: &WhyArgs, screen: &mut Screen) -> Result<(), Error> {
    let mut answer = ask_one(&args.talk.socket, &Request::Why)?;
    if let (Some(list), Some(most)) = (answer.as_array_mut(), args.limit) {
        list.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    if rows(&answer).is_empty() {
        return Ok(screen.line("no failover since the start")?);
    }
    let epoch = epoch();
    for (index, story) in rows(&answer).iter().enumerate() {
        if index > 0 {
            screen.line("")?;
        }
        let at = number(story, "at_ns").map_or(NOTHING.to_owned(), |ns| moment(epoch, ns));
        tell(story, &at, screen)?;
    }
    Ok(())
}

fn tell(story: &Value, at: &str, screen: &mut Screen) -> Result<(), Error> {
    let kind = text(story, "kind");
    let colour = match kind.as_str() {
        "failback" => Colour::Green,
        "failover" | "wan_none" => Colour::Red,
        _ => Colour::Yellow,
    };
    let head = format!(
        "{at} {kind} {} -> {}, group {}",
        text(story, "from"),
        text(story, "to"),
        text(story, "group")
    );
    for line in wrap(&head, at.chars().count() + 1) {
        screen.line(&line.replacen(&kind, &screen.paint(Some(colour), &kind), 1))?;
    }
    entry("cause", &text(story, "cause"), screen)?;
    for (index, evidence) in rows(&story["evidence"]).iter().enumerate() {
        entry(if index == 0 { "evidence" } else { "" }, &proof(evidence), screen)?;
    }
    let moved: Vec<String> = story["moved"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, n)| n.as_u64() != Some(0))
        .map(|(name, n)| format!("{} {}", plain(n), plain(&name.replace('_', " ").into())))
        .collect();
    entry("moved", if moved.is_empty() { "nothing yet".into() } else { moved.join(", ") }.as_str(), screen)?;
    let steps = rows(&story["steps"]).iter().map(|step| {
        let took = number(step, "us").map_or(NOTHING.to_owned(), |us| micros(us).replace(' ', ""));
        format!("{} {took}", text(step, "name").replace('_', " "))
    });
    entry("steps", &steps.collect::<Vec<_>>().join(", "), screen)
}

/// `isp1: icmp 9.9.9.9: 3 probes lost (from 3 on)`.
fn proof(evidence: &Value) -> String {
    let target = match evidence["target"].as_str() {
        None | Some("") => String::new(),
        Some(target) => format!(" {}", plain(&target.into())),
    };
    let unit = match evidence["unit"].as_str() {
        None | Some("") => String::new(),
        Some(unit) => format!(" {}", plain(&unit.into())),
    };
    let said =
        evidence["said"].as_str().map(|said| format!(", last: {}", plain(&said.into()))).unwrap_or_default();
    format!(
        "{}: {}{target}: {}{unit} (from {} on){said}",
        text(evidence, "wan"),
        text(evidence, "probe"),
        text(evidence, "value"),
        text(evidence, "threshold"),
    )
}

fn entry(name: &str, words: &str, screen: &mut Screen) -> Result<(), Error> {
    for line in wrap(&format!("  {name:<10}{words}"), INDENT) {
        screen.line(&line)?;
    }
    Ok(())
}

pub(super) fn explain(args: &ExplainArgs, screen: &mut Screen) -> Result<(), Error> {
    let request = Request::Explain {
        packet: args.packet.clone(),
        assume: args.assume.clone(),
        interface: args.interface.clone(),
    };
    let answer = ask_one(&args.talk.socket, &request)?;
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    screen.line(&text(&answer, "packet"))?;
    for step in rows(&answer["steps"]) {
        entry(&text(step, "step"), &text(step, "says"), screen)?;
    }
    let good = answer["sent"].as_bool() == Some(true);
    let verdict = text(&answer, "verdict");
    let colour = if good { Colour::Green } else { Colour::Red };
    for (index, line) in wrap(&format!("  {:<10}{verdict}", "so"), INDENT).into_iter().enumerate() {
        let line = if index == 0 {
            line.replacen(" so ", &format!(" {} ", screen.paint(Some(colour), "so")), 1)
        } else {
            line
        };
        screen.line(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::printed;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failover_is_told_with_cause_evidence_what_moved_and_how_long_it_took() {
        let story = json!({
            "at_ns": 0, "kind": "failover", "group": "default", "from": "isp1", "to": "isp2", "cause": "targets silent",
            "evidence": [
                { "wan": "isp1", "probe": "icmp", "target": "1.1.1.1", "value": 3, "threshold": 3, "unit": "probes lost in a row" },
                { "wan": "isp1", "probe": "gateway", "target": "203.0.113.1", "value": 0, "threshold": 3, "unit": "probes lost in a row" },
            ],
            "moved": { "udp": 12, "tcp": 0, "icmp": 1, "tcp_reset": 3 },
            "steps": [{ "name": "detected", "us": 1_530_000 }, { "name": "published", "us": 12 }, { "name": "applied", "us": 61 }],
        });
        let lines = printed(&story, |story, screen| tell(story, "2026-11-14 22:13:20.123Z", screen));
        assert_eq!(
            lines,
            [
                "2026-11-14 22:13:20.123Z failover isp1 -> isp2, group default",
                "  cause     targets silent",
                "  evidence  isp1: icmp 1.1.1.1: 3 probes lost in a row (from 3 on)",
                "            isp1: gateway 203.0.113.1: 0 probes lost in a row (from 3 on)",
                "  moved     12 udp, 1 icmp, 3 tcp reset",
                "  steps     detected 1.5s, published 12.0us, applied 61.0us",
            ]
        );
        for odd in
            [json!(null), json!({ "evidence": 7, "moved": [1], "steps": [null], "kind": "x".repeat(200) })]
        {
            assert!(
                printed(&odd, |odd, screen| tell(odd, "-", screen)).iter().all(|l| l.chars().count() <= 80)
            );
        }
    }
}
