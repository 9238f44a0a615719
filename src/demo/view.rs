//! The live picture: which line carries, how much, how well, and what the router says about it.
//!
//! `draw` turns a `Scene` into cells and does nothing else. It is laid out for 80 by 24 and grows with the terminal; on a smaller one
//! the lower parts are cut off. Colours say one thing each: green carries, grey is ready, yellow is poor, red is out of order.
#![forbid(unsafe_code)]

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Block, BorderType, Gauge, Paragraph, Sparkline};

use super::scene::{Line, Scene};
use super::story::Clock;
use crate::base::Nanos;

const GOOD: Style = Style::new().fg(Color::Green);
const BAD: Style = Style::new().fg(Color::Red);
const WARN: Style = Style::new().fg(Color::Yellow);
const DIM: Style = Style::new().fg(Color::DarkGray);
const KEY: Style = Style::new().fg(Color::Cyan);
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// Columns between the corners of the picture's two lines.
const RUN: usize = 32;
/// Columns between two packets on a line that carries.
const SPACE: usize = 6;

/// Draws the scene.
pub fn draw(frame: &mut Frame, scene: &Scene) {
    let [head, story, picture, graphs, below, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Min(6),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    header(frame, head, scene);
    step(frame, story, scene);
    frame.render_widget(Paragraph::new(map(scene)).alignment(Alignment::Center), picture);
    let peak = scene.lines.iter().flat_map(|line| &line.rates).copied().max().unwrap_or(1).max(1);
    let columns = Layout::horizontal(vec![Constraint::Fill(1); scene.lines.len().max(1)]).split(graphs);
    for (line, area) in scene.lines.iter().zip(columns.iter()) {
        graph(frame, *area, line, peak);
    }
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(34)]).areas(below);
    events(frame, left, scene);
    results(frame, right, scene);
    let help = Text::from(vec![
        Span::styled(" q ", KEY),
        Span::styled("quits and tidies up", DIM),
        Span::styled("   measured by the hosts, a packet every millisecond", DIM),
    ]);
    frame.render_widget(Paragraph::new(help), foot);
}

fn header(frame: &mut Frame, area: Rect, scene: &Scene) {
    let sessions = scene.sessions.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let right = format!(
        "sessions {sessions}  download {:.0} Mbit/s  {} ",
        scene.download_mbit,
        seconds(scene.elapsed)
    );
    let style = Style::new().bg(Color::Blue).fg(Color::White);
    let left = Text::from(vec![
        Span::styled(" turnout ", style.add_modifier(Modifier::BOLD)),
        Span::raw(scene.scenario),
    ]);
    frame.render_widget(Paragraph::new(left).style(style), area);
    let width = u16::try_from(right.chars().count()).unwrap_or(0).min(area.width);
    let corner = Rect { x: area.right().saturating_sub(width), width, ..area };
    frame.render_widget(Paragraph::new(right).style(style), corner);
}

fn step(frame: &mut Frame, area: Rect, scene: &Scene) {
    let [title, bar] = Layout::vertical([Constraint::Length(1), Constraint::Length(1)]).areas(area);
    let (number, of) = scene.place;
    let text =
        Text::from(vec![Span::styled(format!(" {number}/{of} "), KEY), Span::styled(scene.title, BOLD)]);
    frame.render_widget(Paragraph::new(text), title);
    let (ratio, label, colour) = match scene.clock {
        Clock::Waited(time) => (1.0, format!("waiting for the router, {}", seconds(time)), Color::Yellow),
        Clock::Left(left, whole) => {
            let ratio = 1.0 - left.0 as f64 / whole.0.max(1) as f64;
            (ratio.clamp(0.0, 1.0), format!("next in {}", seconds(left)), Color::Blue)
        }
    };
    let gauge =
        Gauge::default().ratio(ratio).label(label).gauge_style(Style::new().fg(colour).bg(Color::Black));
    let inner = Rect { x: bar.x + 1, width: bar.width.saturating_sub(2), ..bar };
    frame.render_widget(gauge, inner);
}

/// LAN, turnout, the two lines and the internet; the line that carries is drawn heavy and moves.
fn map(scene: &Scene) -> Vec<Text<'static>> {
    let (Some(top), Some(bottom)) = (scene.lines.first(), scene.lines.get(1)) else { return Vec::new() };
    let tick = (scene.elapsed.as_ms() / 150) as usize;
    let (upper, lower) = (look(top), look(bottom));
    let gap = |n: usize| Span::raw(" ".repeat(n));
    let (a, b) = (upper.style, lower.style);
    let side = |heavy: bool| if heavy { "┃" } else { "│" };
    let flow = |length: usize| Span::styled(stream(length, tick), GOOD);
    vec![
        Text::from(""),
        row(("╭", "╮"), ("┏", "┓"), top, &upper, tick),
        Text::from(vec![
            Span::raw("  lan1 "),
            Span::styled("●━╮", GOOD),
            gap(14),
            Span::styled(side(upper.heavy), a),
            gap(RUN),
            Span::styled(side(upper.heavy), a),
            gap(14),
        ]),
        Text::from(vec![
            gap(9),
            Span::styled("┣", GOOD),
            flow(3),
            Span::styled(scene.hub, BOLD),
            flow(2),
            Span::styled("┫", GOOD),
            gap(RUN),
            Span::styled("┣", GOOD),
            flow(3),
            Span::styled(" internet  ", BOLD),
        ]),
        Text::from(vec![
            Span::raw("  lan2 "),
            Span::styled("●━╯", GOOD),
            gap(14),
            Span::styled(side(lower.heavy), b),
            gap(RUN),
            Span::styled(side(lower.heavy), b),
            gap(14),
        ]),
        row(("╰", "╯"), ("┗", "┛"), bottom, &lower, tick),
    ]
}

/// How a line is drawn.
struct Looks {
    style: Style,
    heavy: bool,
    label: String,
}

fn look(line: &Line) -> Looks {
    let name = line.state.name.to_uppercase();
    let carries = line.state.carrying.unwrap_or(false);
    match (line.fault, line.state.state.as_str()) {
        (Some(fault), _) => Looks { style: BAD, heavy: false, label: format!(" {name} {fault} ") },
        (None, "down") => Looks { style: BAD, heavy: false, label: format!(" {name} proving itself ") },
        (None, "degraded") => Looks { style: WARN, heavy: carries, label: format!(" {name} degraded ") },
        (None, _) if carries => {
            Looks { style: GOOD.add_modifier(Modifier::BOLD), heavy: true, label: format!(" {name} ") }
        }
        (None, _) => Looks { style: DIM, heavy: false, label: format!(" {name} ready ") },
    }
}

/// One of the two lines: its corners (light and heavy), its label, its flow.
fn row(
    light: (&'static str, &'static str),
    heavy: (&'static str, &'static str),
    line: &Line,
    looks: &Looks,
    tick: usize,
) -> Text<'static> {
    let (left, right) = if looks.heavy { heavy } else { light };
    let label = looks.label.chars().count();
    let before = RUN.saturating_sub(label) / 2;
    let after = RUN.saturating_sub(label + before);
    let run = |length: usize, from: usize| match (looks.heavy, line.fault) {
        (true, _) => stream(length, tick % SPACE + SPACE - from % SPACE),
        (false, Some(_)) => "╌".repeat(length),
        (false, None) => "─".repeat(length),
    };
    Text::from(vec![
        Span::raw(" ".repeat(24)),
        Span::styled(left, looks.style),
        Span::styled(run(before, 0), looks.style),
        Span::styled(looks.label.clone(), looks.style.add_modifier(Modifier::BOLD)),
        Span::styled(run(after, before + label), looks.style),
        Span::styled(right, looks.style),
        Span::raw(" ".repeat(14)),
    ])
}

/// A heavy line on which packets move to the right.
fn stream(length: usize, tick: usize) -> String {
    let phase = tick % SPACE;
    (0..length).map(|i| if i % SPACE == phase { '•' } else { '━' }).collect()
}

fn graph(frame: &mut Frame, area: Rect, line: &Line, peak: u64) {
    let looks = look(line);
    let state = &line.state;
    let title = Text::from(vec![
        Span::styled(format!(" {} ", state.name.to_uppercase()), looks.style.add_modifier(Modifier::BOLD)),
        Span::styled(state.state.clone(), looks.style),
        Span::styled(if state.carrying.unwrap_or(false) { " carries " } else { " " }, looks.style),
    ]);
    let rate = Text::from(format!(" {} pkt/s ", line.rate())).alignment(Alignment::Right);
    let rtt = state.rtt_us.map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us / 1000.0));
    let loss = state.loss_percent.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.0} %"));
    let sessions = state.sessions.map_or_else(String::new, |n| format!(" sessions {n} "));
    let probes = Text::from(format!(" rtt {rtt}  loss {loss} {sessions}"));
    let border = if looks.heavy { BorderType::Thick } else { BorderType::Rounded };
    let block = Block::bordered()
        .border_type(border)
        .border_style(looks.style)
        .title_top(title)
        .title_top(rate)
        .title_bottom(probes);
    let width = usize::from(block.inner(area).width);
    let skip = line.rates.len().saturating_sub(width);
    let mut shown = vec![0; width.saturating_sub(line.rates.len())];
    shown.extend(line.rates.iter().skip(skip));
    let style = if state.carrying.unwrap_or(false) { GOOD } else { KEY };
    frame.render_widget(Sparkline::default().block(block).data(shown).max(peak).style(style), area);
}

fn events(frame: &mut Frame, area: Rect, scene: &Scene) {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(DIM).title(" events ");
    let room = usize::from(block.inner(area).height);
    let skip = scene.events.len().saturating_sub(room);
    let line = |(at, text): &(Nanos, String)| {
        let style = match text.split(' ').find(|word| word.len() > 3 && *word == word.to_uppercase()) {
            Some("FAILOVER" | "ROLE") => WARN.add_modifier(Modifier::BOLD),
            Some("FAILBACK") => GOOD.add_modifier(Modifier::BOLD),
            _ => Style::new(),
        };
        let time = Span::styled(format!("{:>6.2} ", at.as_us() as f64 / 1e6), DIM);
        Text::from(vec![time, Span::styled(text.clone(), style)])
    };
    let lines: Vec<Text> = scene.events.iter().skip(skip).map(line).collect();
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn results(frame: &mut Frame, area: Rect, scene: &Scene) {
    let block = Block::bordered().border_type(BorderType::Rounded).border_style(DIM).title(" measured ");
    let mut lines =
        vec![Text::styled(format!("{:<9}{:>9}{:>8}{:>6}", "cause", "detected", "outage", "lost"), DIM)];
    let ms = |span: Nanos| format!("{:.0} ms", span.as_us() as f64 / 1000.0);
    for one in &scene.transitions {
        let lost = if one.harm.lost == 0 { GOOD } else { WARN };
        let detected = one.detected.map_or_else(|| "...".to_owned(), ms);
        lines.push(Text::from(vec![
            Span::raw(format!("{:<9}{detected:>9}{:>8}", one.cause, ms(one.harm.outage))),
            Span::styled(format!("{:>6}", one.harm.lost), lost),
        ]));
    }
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn seconds(span: Nanos) -> String {
    format!("{:.1} s", span.as_us() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::demo::report::Transition;
    use crate::demo::traffic::account::Harm;
    use crate::demo::watch::{Look, WanState};

    fn scene() -> Scene {
        let mut scene = Scene::new("dual-wan", " turnout ", &["isp1", "isp2"]);
        for i in 0..40u64 {
            let wan = |name: &str, state: &str, carrying, packets| WanState {
                name: name.into(),
                state: state.into(),
                carrying: Some(carrying),
                rtt_us: Some(412.0),
                loss_percent: Some(0.0),
                rx_packets: Some(packets),
                ..WanState::default()
            };
            let wans = vec![wan("isp1", "down", false, 5), wan("isp2", "up", true, i * 800)];
            scene.look(Look { at: Nanos::from_ms(i * 400), wans, sessions: Some(22), role: None });
        }
        scene.title = "ISP1's cable is cut";
        scene.place = (2, 5);
        scene.clock = Clock::Left(Nanos::from_ms(2300), Nanos::from_ms(4000));
        scene.elapsed = Nanos::from_ms(12_400);
        scene.fault("isp1", Some("cut"));
        scene.event(Nanos::from_ms(8_120), "FAILOVER isp1 -> isp2 (link)".into());
        scene.transitions.push(Transition {
            cause: "link",
            limit: None,
            cut: 0,
            detected: Some(Nanos::from_ms(8)),
            harm: Harm { outage: Nanos::from_ms(19), lost: 20, ..Harm::default() },
        });
        scene
    }

    fn screen(width: u16, height: u16, scene: &Scene) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, scene)).unwrap();
        let buffer = terminal.backend().buffer();
        let symbols: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        symbols.chunks(usize::from(width)).map(|row| row.concat() + "\n").collect()
    }

    #[test]
    fn a_terminal_of_80_by_24_shows_everything() {
        let screen = screen(80, 24, &scene());
        for part in [
            "turnout",
            "dual-wan",
            "sessions 22",
            "12.4 s",
            "2/5",
            "cable is cut",
            "next in 2.3 s",
            "lan1",
            "lan2",
            "ISP1 cut",
            "internet",
            "ISP2 up carries",
            "2000 pkt/s",
            "rtt 0.4 ms",
            "loss 0 %",
            "8.12 FAILOVER isp1",
            "link",
            "8 ms",
            "19 ms",
            "20",
            "q quits",
            "█",
        ] {
            assert!(screen.contains(part), "{part} is missing:\n{screen}");
        }
    }

    #[test]
    fn any_size_and_any_emptiness_is_drawn_without_a_panic() {
        for (width, height) in [(1, 1), (10, 3), (40, 12), (80, 24), (200, 60)] {
            screen(width, height, &scene());
            screen(width, height, &Scene::new("dual-wan", " turnout ", &["isp1", "isp2"]));
            screen(width, height, &Scene::new("none", "", &[]));
        }
    }
}
