//! `cluster`: what both members of the pair are, as each says of itself, why, and how far the sessions are copied.

use serde_json::Value;

use super::Error;
use super::args::Talk;
use super::cluster_args::{PreferArgs, YieldArgs};
use super::output::{Colour, NOTHING, Screen, count, cut, nanos, number, plain, rows, shown, text, wrap};
use super::table::{Cell, Column, Table, left, right};
use crate::manage::protocol::{Reason, Request, ask_one};

pub(super) fn cluster(talk: &Talk, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&talk.socket, &Request::Cluster)?;
    if talk.json { Ok(screen.json(&answer)?) } else { show(&answer, screen) }
}

pub(super) fn prefer(args: &PreferArgs, screen: &mut Screen) -> Result<(), Error> {
    let answer = ask_one(&args.talk.socket, &Request::Prefer { member: args.name.clone() })?;
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    let name = cut(&plain(&args.name.as_str().into()), 30);
    Ok(screen
        .line(&format!("{name} is preferred; it gets the role when it is as fit and has all sessions"))?)
}

pub(super) fn yield_role(args: &YieldArgs, screen: &mut Screen) -> Result<(), Error> {
    let request = if args.now { Request::YieldNow } else { Request::Yield };
    let answer = ask_one(&args.talk.socket, &request)?;
    if args.talk.json {
        return Ok(screen.json(&answer)?);
    }
    Ok(screen.line("the partner is asked to take the role; this member lets go when it has")?)
}

fn show(answer: &Value, screen: &mut Screen) -> Result<(), Error> {
    let (site, colour) = site(answer);
    screen.line(&format!("the site is {}", screen.paint(colour, &site)))?;
    screen.line("")?;
    const COLUMNS: &[Column] = &[
        left(" ", 0),
        left("MEMBER", 0),
        left("ROLE", 0),
        left("HEALTHY", 0),
        left("PREFERS", 2),
        right("CHANGES", 3),
        left("VERSION", 1),
        right("HEARD", 4),
    ];
    let members: Vec<&Value> = [Some(answer), answer.get("partner").filter(|partner| partner.is_object())]
        .into_iter()
        .flatten()
        .collect();
    let mut table = Table::new(COLUMNS);
    for (at, member) in members.iter().enumerate() {
        table.push(row(member, at == 0));
    }
    table.print(screen)?;
    screen.line("")?;
    for member in &members {
        let reasons: Vec<String> =
            rows(member.get("reasons").unwrap_or(&Value::Null)).iter().map(words).collect();
        if !reasons.is_empty() {
            for line in wrap(&format!("{}: {}", text(member, "name"), reasons.join(", ")), 4) {
                screen.line(&line)?;
            }
        }
    }
    if members.len() < 2 {
        screen.line("the partner was never heard")?;
    }
    for (at, member) in members.iter().enumerate() {
        let what = format!("{}: {}", text(member, "name"), fitness(member.get("fitness")));
        let head = if at == 0 { "fitness   " } else { "          " };
        for line in wrap(&format!("{head}{what}"), 10) {
            screen.line(&line)?;
        }
    }
    for line in wrap(&format!("sessions  {}", sync(answer.get("sync").unwrap_or(&Value::Null))), 10) {
        screen.line(&line)?;
    }
    for (key, what) in [("beats", "beats"), ("log", "frames of the log")] {
        let why = refused(answer.pointer(&format!("/refused/{key}")).unwrap_or(&Value::Null));
        if !why.is_empty() {
            for line in wrap(&format!("refused   {what}: {}", why.join(", ")), 10) {
                screen.line(&line)?;
            }
        }
    }
    Ok(())
}

/// How well a member could serve, in the order in which that is compared.
fn fitness(fitness: Option<&Value>) -> String {
    let rank = |rank: &Value| {
        let of = |key, one: &str, many: &str| match number(rank, key) {
            Some(1) => format!("1 {one}"),
            _ => format!("{} {many}", shown(rank, key, count)),
        };
        let tier = number(rank, "tier").map(|tier| format!(" of tier {tier}"));
        let inside = of("inside", "link inside", "links inside");
        let wans = of("wans", "WAN", "WANs") + &tier.unwrap_or_default();
        format!("{inside}, {wans}, {}", of("leases", "lease", "leases"))
    };
    let Some(known @ Value::Object(_)) = fitness else { return NOTHING.to_owned() };
    match known.get("hoped") {
        Some(hoped @ Value::Object(_)) => format!("{}; hoped: {}", rank(known), rank(hoped)),
        _ => rank(known),
    }
}

/// What came to nothing, and how often; what never did is left out.
fn refused(counts: &Value) -> Vec<String> {
    let kinds = ["malformed", "forged", "replayed", "strangers", "crowded"];
    let some = kinds.into_iter().filter(|kind| number(counts, kind).is_some_and(|n| n > 0));
    some.map(|kind| format!("{} {kind}", shown(counts, kind, count))).collect()
}

fn row(member: &Value, own: bool) -> Vec<Cell> {
    let lost = member.get("lost") == Some(&Value::Bool(true));
    let role = text(member, "role");
    let (role, colour) = match role.as_str() {
        _ if lost => (format!("{role} (lost)"), Colour::Red),
        "active" => (role, Colour::Green),
        "starting" => (role, Colour::Yellow),
        _ => (role, Colour::Dim),
    };
    let (healthy, health) = match member.get("healthy") {
        Some(Value::Bool(true)) if !lost => ("yes", Colour::Green),
        Some(Value::Bool(_)) => ("no", Colour::Red),
        _ => (NOTHING, Colour::Dim),
    };
    let preference = member.get("preference").unwrap_or(&Value::Null);
    let heard = |ms: u64| format!("{} ago", nanos(ms.saturating_mul(1_000_000)));
    vec![
        Cell::painted(if own { "*" } else { "" }.to_owned(), Some(Colour::Bold)),
        text(member, "name").into(),
        Cell::painted(role, Some(colour)),
        Cell::painted(healthy.to_owned(), Some(health)),
        text(preference, "member").into(),
        shown(preference, "version", count).into(),
        text(member, "version").into(),
        number(member, "heard_ms").map_or(NOTHING.to_owned(), heard).into(),
    ]
}

/// One line for `status`.
pub(super) fn in_short(pair: &Value) -> String {
    let partner = match pair.get("partner") {
        Some(partner @ Value::Object(_)) if partner.get("lost") == Some(&Value::Bool(true)) => {
            format!("partner {} is lost", text(partner, "name"))
        }
        Some(partner @ Value::Object(_)) => {
            format!("partner {} is {}", text(partner, "name"), text(partner, "role"))
        }
        _ => "the partner was never heard".to_owned(),
    };
    format!("{} is {}, {partner}; the site is {}", text(pair, "name"), text(pair, "role"), site(pair).0)
}

fn site(answer: &Value) -> (String, Option<Colour>) {
    let site = cut(&text(answer, "site"), 30);
    let colour = match site.as_str() {
        "healthy" => Some(Colour::Green),
        "unhealthy" => Some(Colour::Yellow),
        "offline" => Some(Colour::Red),
        _ => None,
    };
    (site, colour)
}

/// A reason in words; one that this build does not know, as it is called.
fn words(reason: &Value) -> String {
    let known: Option<Reason> = serde_json::from_value(reason.clone()).ok();
    known.map_or_else(|| plain(reason).replace('_', " "), |reason| reason.text().to_owned())
}

fn sync(sync: &Value) -> String {
    let of = |key| shown(sync, key, count);
    let told = |what: &str| {
        format!("{what}: {} told, {} acknowledged, {} behind", of("sent"), of("acked"), of("behind"))
    };
    match text(sync, "state").as_str() {
        "alone" => "nobody copies those of this member".to_owned(),
        "paused" => "the partner was too slow and gets all of them anew".to_owned(),
        "bulk" => told("all of them are being told"),
        "following" => told("all have been told, and what changes is"),
        "waiting" => "none of the partner's are told".to_owned(),
        "copying" => format!("the partner's are coming: {} here, {} behind", of("acked"), of("behind")),
        "whole" => match number(sync, "refused").unwrap_or(0) {
            0 => format!("all of the partner's are here, {} changes behind", of("behind")),
            _ => format!(
                "the partner's are here but for {} refused (copies_refused), {} changes behind",
                of("refused"),
                of("behind")
            ),
        },
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::tests::printed;
    use serde_json::json;

    fn sample() -> Value {
        let preference = json!({"member": "a", "version": 3});
        let fitness = json!({"inside": 1, "tier": 1, "wans": 2, "leases": 0, "hoped": null});
        let less = json!({"inside": 1, "tier": null, "wans": 0, "leases": 0, "hoped": fitness});
        json!({
            "name": "a", "role": "active", "healthy": true, "reasons": [], "version": "0.1.0", "preference": preference, "fitness": fitness,
            "partner": {"name": "b", "role": "standby", "healthy": true, "reasons": ["partner_active", "partner_preferred"],
                "version": "0.1.0", "preference": preference, "lost": false, "heard_ms": 12, "fitness": less},
            "site": "healthy", "sync": {"state": "following", "sent": 1200, "acked": 1198, "behind": 2},
        })
    }

    #[test]
    fn both_members_are_shown_with_their_reasons_in_words() {
        let lines = printed(&sample(), show);
        assert_eq!(
            lines,
            [
                "the site is healthy",
                "",
                "   MEMBER  ROLE     HEALTHY  PREFERS  CHANGES  VERSION        HEARD",
                "*  a       active   yes      a              3  0.1.0              -",
                "   b       standby  yes      a              3  0.1.0    12.0 ms ago",
                "",
                "b: the partner is active, the partner is preferred",
                "fitness   a: 1 link inside, 2 WANs of tier 1, 0 leases",
                "          b: 1 link inside, 0 WANs, 0 leases; hoped: 1 link inside, 2 WANs of",
                "          tier 1, 0 leases",
                "sessions  all have been told, and what changes is: 1200 told, 1198 acknowledged,",
                "          2 behind",
            ]
        );
        assert_eq!(in_short(&sample()), "a is active, partner b is standby; the site is healthy");
    }

    #[test]
    fn what_was_refused_is_shown_if_there_was_any() {
        let mut pair = sample();
        let mut beats = json!({"malformed": 0, "forged": 0, "replayed": 0, "strangers": 0});
        let log = json!({"malformed": 0, "forged": 0, "crowded": 7});
        pair["refused"] = json!({"beats": beats, "log": {"malformed": 0, "forged": 0, "crowded": 0}});
        assert_eq!(printed(&pair, show), printed(&sample(), show));
        (beats["forged"], beats["strangers"]) = (json!(1200), json!(1));
        pair["refused"] = json!({"beats": beats, "log": log});
        let lines = printed(&pair, show);
        assert_eq!(
            lines[lines.len() - 2..],
            ["refused   beats: 1200 forged, 1 strangers", "refused   frames of the log: 7 crowded"]
        );
    }

    #[test]
    fn copies_that_were_refused_are_not_called_here() {
        let mut pair = sample();
        let last = |pair: &Value| printed(pair, show).pop().unwrap();
        pair["sync"] = json!({"state": "whole", "sent": 9, "acked": 9, "behind": 0, "refused": 0});
        assert_eq!(last(&pair), "sessions  all of the partner's are here, 0 changes behind");
        pair["sync"]["refused"] = json!(1200);
        let lines = printed(&pair, show).join("\n");
        assert!(lines.contains("the partner's are here but for 1200 refused (copies_refused)"), "{lines}");
        assert!(!lines.contains("all of"), "{lines}");
    }

    #[test]
    fn a_lost_partner_and_one_that_was_never_heard_are_told_apart() {
        let mut pair = sample();
        pair["partner"]["lost"] = json!(true);
        pair["reasons"] = json!(["partner_lost", "of_a_newer_version"]);
        let lines = printed(&pair, show);
        assert!(lines[4].starts_with("   b       standby (lost)  no "), "{}", lines[4]);
        assert_eq!(lines[6], "a: the partner is silent on all paths, of a newer version");
        assert!(in_short(&pair).contains("partner b is lost"));
        pair["partner"] = Value::Null;
        pair["sync"]["state"] = json!("alone");
        let lines = printed(&pair, show);
        assert_eq!(
            lines[lines.len() - 3..lines.len() - 1],
            ["the partner was never heard", "fitness   a: 1 link inside, 2 WANs of tier 1, 0 leases"]
        );
    }

    #[test]
    fn the_largest_of_everything_fits_and_what_has_another_shape_is_dashes() {
        let big = u64::MAX;
        let mut pair = sample();
        for key in ["name", "role", "version", "site"] {
            pair[key] = json!("x".repeat(200));
            pair["partner"][key] = json!("x".repeat(200));
        }
        pair["preference"] = json!({"member": "x".repeat(99), "version": big});
        pair["partner"]["heard_ms"] = json!(big);
        let rank = json!({"inside": big, "tier": big, "wans": big, "leases": big});
        pair["fitness"] = rank.clone();
        pair["fitness"]["hoped"] = rank;
        let all: Vec<Reason> = Reason::ALL.to_vec();
        pair["reasons"] = json!(all);
        for state in ["alone", "paused", "bulk", "following", "waiting", "copying", "whole", "zzz"] {
            pair["sync"] = json!({"state": state, "sent": big, "acked": big, "behind": big, "refused": big});
            let all =
                json!({"malformed": big, "forged": big, "replayed": big, "strangers": big, "crowded": big});
            pair["refused"] = json!({"beats": all, "log": all});
            printed(&pair, show);
        }
        for odd in [json!(null), json!(7), json!([1]), json!({"partner": {}, "reasons": 5, "refused": 1})] {
            printed(&odd, show);
            in_short(&odd);
        }
    }
}
