//! The scenario `dual-wan`: a site with two ISPs loses the first one twice, once by its link and once in silence.
//!
//! Everything is real: the router is this program, the hosts are namespaces with the kernel's own TCP and UDP. The story
//! does the deeds and waits for the router's events; the traffic says what they cost. What lies between two deeds is one
//! transition, from a moment before the first, so that nothing falls between two windows.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use super::DemoError;
use super::clock;
use super::lab::{Lab, LabError, Router, WAN1, WAN2};
use super::report::{Report, Transition};
use super::scene::Scene;
use super::stage::Stage;
use super::story::{Answer, Clock, Deed, Mark, Step, Story, Turn};
use super::traffic::account::{Harm, Window};
use super::traffic::{Traffic, tcp, udp};
use super::watch::{Event, Watch};
use crate::base::Nanos;

/// The scenario's name.
pub const NAME: &str = "dual-wan";

const STEPS: &[Step] = &[
    Step { title: "Both ISPs are healthy, traffic leaves by ISP1", deed: None, answer: None, cause: "" },
    Step {
        title: "ISP1's cable is cut: the carrier is gone, ISP2 takes over",
        deed: Some(Deed::Cut),
        answer: Some((Answer::Failover, Nanos::from_s(3))),
        cause: "link",
    },
    Step {
        title: "The cable is mended: ISP1 has to stay well before it carries",
        deed: Some(Deed::Mend),
        answer: Some((Answer::Failback, Nanos::from_s(12))),
        cause: "failback",
    },
    Step {
        title: "ISP1 goes silent: the carrier is up, nothing comes through",
        deed: Some(Deed::Silence),
        answer: Some((Answer::Failover, Nanos::from_s(4))),
        cause: "silent",
    },
    Step {
        title: "ISP1 speaks again: it has to stay well before it carries",
        deed: Some(Deed::Heal),
        answer: Some((Answer::Failback, Nanos::from_s(16))),
        cause: "failback",
    },
];

/// Measured from a little before each deed.
const LEAD: Nanos = Nanos::from_ms(10);
/// Left out at the begin: the first packets wait for ARP.
const SETTLE: Nanos = Nanos::from_ms(300);
const TURN: Duration = Duration::from_millis(20);
const FRAME: Nanos = Nanos::from_ms(100);
const MEASURE: Nanos = Nanos::from_s(1);
const FIRST_ECHO: Duration = Duration::from_secs(5);
const ISP: &str = "isp1";
/// After a failback a new call is made, which leaves by the preferred line again; the old one stays where it was.
const REDIAL: Nanos = Nanos::from_ms(700);

/// The router's profile in this lab; `@SOCKET@` stands for the control socket.
pub fn profile() -> String {
    let cores = cores();
    let manager = cores.first().copied().unwrap_or(0);
    let worker = cores.get(1).copied().unwrap_or(manager);
    format!(
        "version: 1
name: demo
engine: {{ workers: [{worker}], manager: {manager}, sessions: 65536 }}
interfaces:
  lan:  {{ port: \"linux:lan0\", addresses: [192.168.10.1/24] }}
  isp1: {{ port: \"linux:isp1\", addresses: [{WAN1}/29], gateway: 203.0.113.1 }}
  isp2: {{ port: \"linux:isp2\", addresses: [{WAN2}/29], gateway: 198.51.100.1 }}
wans:
  isp1: {{ health: demo }}
  isp2: {{ health: demo }}
health:
  demo: {{ up: {{ stable: 3s }} }}
groups: {{ default: {{ failback: {{ after: 0s }} }} }}
on_failover: {{ tcp: {{ reset_after: 0s }} }}
management: {{ socket: \"@SOCKET@\", journal: \"@SOCKET@.d/journal\" }}
"
    )
}

/// The cores this process may use.
pub(super) fn cores() -> Vec<usize> {
    let Ok(set) = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)) else { return vec![0] };
    (0..nix::sched::CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

/// Plays the scenario.
///
/// # Errors
/// If the lab cannot be built, the router does not start or dies, or somebody wants it to end.
pub fn play(stage: &mut Stage) -> Result<Report, DemoError> {
    play_in(stage, NAME, &Lab::dual_wan()?, &profile(), None)
}

/// Plays the story in a lab, with this profile of the router, and that of a node between it and the hosts if there is one.
///
/// # Errors
/// As `play`.
pub(super) fn play_in(
    stage: &mut Stage,
    name: &'static str,
    lab: &Lab,
    profile: &str,
    node: Option<&str>,
) -> Result<Report, DemoError> {
    stage.say(clock::now(), "the lab is built: two LAN hosts, two ISPs, an internet host");
    if stage.stop.asked() {
        return Err(DemoError::Interrupted);
    }
    let mut router = lab.start_router_from(&super::router_binary()?, profile, &stage.stop)?;
    stage.say(clock::now(), "the router is ready");
    let node = match node {
        Some(profile) => {
            let node = lab.start_router_in("node", &super::router_binary()?, profile, &stage.stop)?;
            stage.say(clock::now(), "the node is ready");
            Some(node)
        }
        None => None,
    };
    let watch = Watch::start(router.socket()).map_err(LabError::from)?;
    let mut traffic = Traffic::start(lab)?;
    if !traffic.flows(FIRST_ECHO, &stage.stop) {
        return Err(if stage.stop.asked() {
            DemoError::Interrupted
        } else {
            DemoError::NoTraffic(router.said())
        });
    }
    stage.say(clock::now(), "packets flow; the story begins");
    stage.raise();
    let mut run = Run {
        name,
        lab,
        story: Story::new(STEPS, stage.seconds, stage.deadline()),
        scene: Scene::new(name, &[ISP, "isp2"]),
        began: clock::now(),
        redial: None,
        astray: Vec::new(),
    };
    run.tell(stage, &watch, &mut router, &traffic)?;
    let ended = clock::now();
    traffic.finish();
    let report = run.report(&traffic, ended, stage.time(ended));
    stage.lower();
    drop(watch);
    for mut router in [Some(router), node].into_iter().flatten() {
        router.stop()?;
        router.replay()?;
    }
    Ok(report)
}

/// A scenario on its way.
struct Run<'a> {
    name: &'static str,
    lab: &'a Lab,
    story: Story,
    scene: Scene,
    /// When the traffic was flowing.
    began: Nanos,
    redial: Option<Nanos>,
    astray: Vec<String>,
}

impl Run<'_> {
    /// Tells the story to its end.
    fn tell(
        &mut self,
        stage: &mut Stage,
        watch: &Watch,
        router: &mut Router,
        traffic: &Traffic,
    ) -> Result<(), DemoError> {
        let (mut drawn, mut measured, mut step) = (Nanos::ZERO, clock::now(), 0);
        loop {
            if stage.stop.asked() {
                return Err(DemoError::Interrupted);
            }
            if let Some(status) = router.ended() {
                return Err(
                    LabError::Router(format!("ended during the demo ({status}): {}", router.said())).into()
                );
            }
            let turn = self.story.turn(clock::now());
            let (number, of) = self.story.place();
            if number != step || turn == Turn::Over {
                step = number;
                self.sum_up(stage, traffic);
                if let Some(next) = self.story.step() {
                    stage.say(clock::now(), &format!("{number}/{of} {}", next.title));
                }
            }
            match turn {
                Turn::Over => return Ok(()),
                Turn::Do(deed) => {
                    let at = self.act(deed, traffic)?;
                    self.story.done(at);
                }
                Turn::Wait => {}
            }
            while let Ok(event) = watch.events.try_recv() {
                self.heard(stage, &event);
            }
            while let Ok(look) = watch.looks.try_recv() {
                self.scene.look(look);
            }
            let now = clock::now();
            if self.redial.is_some_and(|at| now >= at) {
                self.redial = None;
                if traffic.stream.dial() {
                    stage.say(now, "    hosts: a new call, which leaves by ISP1 again");
                }
            }
            if now.since(measured) >= MEASURE {
                measured = now;
                // Packets still under way are not lost yet.
                self.scene.transitions = self.transitions(traffic, now.since(LEAD));
                self.scene.download_mbit = traffic.download_mbit();
            }
            if now.since(drawn) >= FRAME {
                drawn = now;
                self.dress(stage.time(now), now);
                stage.show(&self.scene);
            }
            thread::sleep(TURN);
        }
    }

    /// Says what the step that has just ended cost.
    fn sum_up(&self, stage: &Stage, traffic: &Traffic) {
        let now = clock::now();
        if let Some(Transition { harm, .. }) = self.transitions(traffic, now.since(LEAD)).last() {
            let outage = harm.outage.as_us() as f64 / 1000.0;
            let line =
                format!("    hosts: {outage:.1} ms of outage, {} of {} packets lost", harm.lost, harm.sent);
            stage.say(now, &line);
        }
    }

    fn act(&mut self, deed: Deed, traffic: &Traffic) -> Result<Nanos, LabError> {
        let source = traffic.stream.source();
        if matches!(deed, Deed::Cut | Deed::Silence) && source != WAN1 {
            self.astray.push(format!("the stream left by {source}, not {WAN1}, before the fault"));
        }
        let (at, fault) = match deed {
            Deed::Cut => (self.lab.link_down(ISP)?, Some("cut")),
            Deed::Mend => (self.lab.link_up(ISP)?, None),
            Deed::Silence => (self.lab.blackhole(ISP)?, Some("silent")),
            Deed::Heal => (self.lab.heal(ISP)?, None),
        };
        self.scene.fault(ISP, fault);
        Ok(at)
    }

    fn heard(&mut self, stage: &Stage, event: &Event) {
        stage.say(event.at, &format!("    router: {}", event.line()));
        self.scene.event(stage.time(event.at), event.line());
        if let Some(answer) = event.answer(ISP) {
            self.scene.carries(event.text("to"));
            let now = clock::now();
            if self.story.heard(answer, event.at, now) && answer == Answer::Failback {
                self.redial = Some(now + REDIAL);
            }
        }
    }

    fn dress(&mut self, elapsed: Nanos, now: Nanos) {
        let scene = &mut self.scene;
        scene.title = self.story.step().map_or("", |step| step.title);
        scene.place = self.story.place();
        scene.clock = self.story.clock(now);
        scene.elapsed = elapsed;
        if let Clock::Left(..) = scene.clock
            && let Some(last) = self.story.marks().last()
            && last.answered.is_none()
        {
            scene.title = "The router has not answered in time; the story goes on";
        }
    }

    fn transitions(&self, traffic: &Traffic, until: Nanos) -> Vec<Transition> {
        let log = traffic.stream.log();
        let marks = self.story.marks();
        let ends = marks.iter().skip(1).map(|mark| mark.at.since(LEAD)).chain([until]);
        let judge = |(mark, to): (&Mark, Nanos)| Transition {
            cause: self.story.steps().get(mark.step).map_or("", |step| step.cause),
            detected: mark.answered.map(|at| at.since(mark.at)),
            harm: log.harm(Window { from: mark.at.since(LEAD), to }, udp::SPACING),
        };
        marks.iter().zip(ends).map(judge).collect()
    }

    /// When sessions are put to the test: a fault does it at once, a failback when the router moves the traffic.
    fn moments(&self) -> Vec<Nanos> {
        let moment = |mark: &Mark| match self.story.steps().get(mark.step).and_then(|step| step.deed) {
            Some(Deed::Cut | Deed::Silence) => Some(mark.at),
            _ => mark.answered,
        };
        self.story.marks().iter().filter_map(moment).collect()
    }

    fn report(&self, traffic: &Traffic, ended: Nanos, took: Nanos) -> Report {
        let first = self.story.marks().first().map_or(ended, |mark| mark.at.since(LEAD));
        let steady = Window { from: self.began + SETTLE, to: first };
        let steady: Harm = traffic.stream.log().harm(steady, udp::SPACING);
        let tally = tcp::tally(&traffic.downloads.sessions(), &self.moments());
        let transitions = self.transitions(traffic, ended);
        let alive = u64::from(transitions.last().is_some_and(|last| last.harm.lost < last.harm.sent));
        let recent = ended.since(Nanos::from_ms(1_000));
        Report {
            scenario: self.name.into(),
            expected: STEPS.iter().filter(|step| step.answer.is_some()).count(),
            transitions,
            steady,
            udp: (traffic.stream.chatter_alive(recent) as u64 + alive, udp::CHATTER as u64 + 1),
            tcp: (tally.survived, tally.cut),
            redials: tally.redials,
            corrupt: tally.corrupt,
            download_mbit: traffic.download_mbit(),
            sources: traffic.sources(),
            astray: self.astray.clone(),
            translated: vec![WAN1, WAN2],
            took,
        }
    }
}
