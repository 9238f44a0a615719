//! A scenario played: its lab, its routers, its story and the traffic, and what that came to.
//!
//! Everything is real: the routers are this program, the hosts are namespaces with the kernel's own TCP and UDP. The story
//! does the deeds and waits for the routers' events; the traffic says what they cost. What lies between two deeds is one
//! transition, from a moment before the first, so that nothing falls between two windows.
#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use super::DemoError;
use super::clock;
use super::crew::{Crew, Post};
use super::lab::{Fault, Lab, LabError, Shape, WAN1, WAN2};
use super::report::{Report, Transition};
use super::scene::Scene;
use super::stage::Stage;
use super::story::{Answer, Clock, Deed, Mark, Step, Story, Turn};
use super::traffic::account::{Harm, Window};
use super::traffic::{Traffic, tcp, udp};
use super::watch::Event;
use crate::base::Nanos;

/// Measured from a little before each deed.
const LEAD: Nanos = Nanos::from_ms(10);
/// Left out at the begin: the first packets wait for ARP.
const SETTLE: Nanos = Nanos::from_ms(300);
const TURN: Duration = Duration::from_millis(20);
const FRAME: Nanos = Nanos::from_ms(100);
const MEASURE: Nanos = Nanos::from_s(1);
const FIRST_ECHO: Duration = Duration::from_secs(5);
/// The ISP that things happen to, and the member.
const ISP: &str = "isp1";
const MEMBER: &str = "a";
/// After a way back a new call is made, which leaves by the preferred line again, if the old one stays where it was.
const REDIAL: Nanos = Nanos::from_ms(700);

/// What a scenario is made of.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The scenario's name.
    pub name: &'static str,
    /// The lab.
    pub shape: Shape,
    /// The routers, in the order in which they are started.
    pub posts: Vec<Post>,
    /// What happens.
    pub steps: &'static [Step],
    /// The ports of member `a` that lead to its ISPs.
    pub cables: &'static [&'static str],
}

/// Plays a scenario.
///
/// # Errors
/// If the lab cannot be built, a router does not start or dies, or somebody wants it to end.
pub fn play(stage: &mut Stage, plot: Plot) -> Result<Report, DemoError> {
    let lab = Lab::build(plot.shape)?;
    stage.say(clock::now(), "the lab is built: two LAN hosts, two ISPs, an internet host");
    if stage.stop.asked() {
        return Err(DemoError::Interrupted);
    }
    let _leases = if plot.shape == Shape::PairMixed { Some(lab.serve_dhcp()?) } else { None };
    let Plot { name, posts, steps, cables, .. } = plot;
    let mut crew = Crew::start(&lab, posts, stage)?;
    let mut traffic = Traffic::start(&lab)?;
    if !traffic.flows(FIRST_ECHO, &stage.stop) {
        return Err(if stage.stop.asked() {
            DemoError::Interrupted
        } else {
            DemoError::NoTraffic(crew.said())
        });
    }
    stage.say(clock::now(), "packets flow; the story begins");
    stage.raise();
    let (hub, lines) = if crew.is_pair() { ("  pair   ", ["a", "b"]) } else { (" turnout ", [ISP, "isp2"]) };
    let mut run = Run {
        name,
        cables,
        lab: &lab,
        story: Story::new(steps, stage.seconds, stage.deadline()),
        scene: Scene::new(name, hub, &lines),
        began: clock::now(),
        active: MEMBER,
        redial: None,
        astray: Vec::new(),
    };
    run.tell(stage, &mut crew, &traffic)?;
    let ended = clock::now();
    traffic.finish();
    let report = run.report(&traffic, ended, stage.time(ended));
    stage.lower();
    crew.dismiss()?;
    Ok(report)
}

/// A scenario on its way.
struct Run<'a> {
    name: &'static str,
    cables: &'static [&'static str],
    lab: &'a Lab,
    story: Story,
    scene: Scene,
    /// When the traffic was flowing.
    began: Nanos,
    /// The member that has the role, where there is a pair.
    active: &'static str,
    redial: Option<Nanos>,
    astray: Vec<String>,
}

impl Run<'_> {
    /// Tells the story to its end.
    fn tell(&mut self, stage: &mut Stage, crew: &mut Crew<'_>, traffic: &Traffic) -> Result<(), DemoError> {
        let (mut drawn, mut measured, mut step) = (Nanos::ZERO, clock::now(), 0);
        loop {
            if stage.stop.asked() {
                return Err(DemoError::Interrupted);
            }
            crew.check()?;
            // What was told before a deed does not answer it.
            for (who, event) in crew.events() {
                self.heard(stage, crew, who, &event);
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
                    let at = self.act(deed, crew, traffic)?;
                    self.story.done(at);
                }
                Turn::Wait => {}
            }
            for look in crew.looks() {
                self.scene.look(look);
            }
            let now = clock::now();
            if self.redial.is_some_and(|at| now >= at) {
                self.redial = None;
                if traffic.stream.source() != WAN1 && traffic.stream.dial() {
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

    fn act(&mut self, deed: Deed, crew: &mut Crew<'_>, traffic: &Traffic) -> Result<Nanos, LabError> {
        let source = traffic.stream.source();
        if matches!(deed, Deed::Cut | Deed::Silence | Deed::Strand) && source != WAN1 {
            self.astray.push(format!("the stream left by {source}, not {WAN1}, before the fault"));
        }
        // In a pair's picture the lines are the members, and a line of both is neither's.
        let both = matches!(deed, Deed::Cut | Deed::Mend | Deed::Silence | Deed::Heal);
        let victim = match (crew.is_pair(), both) {
            (false, _) => Some(ISP),
            (true, false) => Some(MEMBER),
            (true, true) => None,
        };
        let (at, fault) = match deed {
            Deed::Cut => (self.lab.link_down(ISP)?, Some("cut")),
            Deed::Mend => (self.lab.link_up(ISP)?, None),
            Deed::Silence => (self.lab.blackhole(ISP)?, Some("silent")),
            Deed::Heal => (self.lab.heal(ISP)?, None),
            Deed::Strand => (self.lab.fault(ISP, Fault::DeadInternet)?, Some("isp dead")),
            Deed::Rejoin => (self.lab.mend(ISP, Fault::DeadInternet)?, None),
            Deed::Kill => (crew.kill(MEMBER)?, Some("killed")),
            Deed::Start => (crew.revive(MEMBER)?, None),
            Deed::Unplug => (self.cables(Lab::unplug)?, Some("unplugged")),
            Deed::Plug => (self.cables(Lab::plug)?, None),
            Deed::Yield => (crew.yields(MEMBER)?, None),
        };
        victim.into_iter().for_each(|victim| self.scene.fault(victim, fault));
        Ok(at)
    }

    /// All cables of the member to its ISPs, at once as far as the kernel can; when that began.
    fn cables(&self, pull: fn(&Lab, &str, &str) -> Result<Nanos, LabError>) -> Result<Nanos, LabError> {
        let at = clock::now();
        thread::scope(|scope| {
            let pulls = self.cables.iter().map(|port| scope.spawn(|| pull(self.lab, MEMBER, port)));
            let pulls: Vec<_> = pulls.collect();
            pulls.into_iter().try_for_each(|one| match one.join() {
                Ok(done) => done.map(drop),
                Err(_) => Err(LabError::NoHost(MEMBER.to_owned())),
            })
        })?;
        Ok(at)
    }

    fn heard(&mut self, stage: &Stage, crew: &Crew<'_>, who: &'static str, event: &Event) {
        let pair = crew.is_pair();
        let line = if pair { format!("{who}: {}", event.line()) } else { event.line() };
        stage.say(event.at, &format!("    {}{line}", if pair { "" } else { "router: " }));
        self.scene.event(stage.time(event.at), line);
        let now = clock::now();
        if pair && event.takes_role() {
            let answer = if who == MEMBER { Answer::TakeBack } else { Answer::TakeOver };
            self.scene.carries(who);
            let awaited = self.story.heard(answer, event.at, now);
            self.redial = (awaited && answer == Answer::TakeBack).then_some(now + REDIAL);
            if !awaited && who != self.active {
                let told = self.story.step().map_or("the end", |step| step.title);
                self.astray.push(format!("{who} took the role ({}): {told}", event.text("cause")));
            }
            self.active = who;
            return;
        }
        // In a pair each member judges its own lines; that of the active one counts, and where there is a router, that.
        let eyes = if crew.has_router() { "router" } else { self.active };
        let Some(answer) = event.answer(ISP).filter(|_| who == eyes) else { return };
        if !pair {
            self.scene.carries(event.text("to"));
        }
        if self.story.heard(answer, event.at, now) && answer == Answer::Failback {
            self.redial = Some(now + REDIAL);
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
        let moments: Vec<Nanos> = marks.iter().map(|mark| mark.at.since(LEAD)).collect();
        let cuts = tcp::cut_by(&traffic.downloads.sessions(), &moments);
        let judge = |((mark, to), cut): ((&Mark, Nanos), u64)| {
            let step = self.story.steps().get(mark.step);
            Transition {
                cause: step.map_or("", |step| step.cause),
                limit: step.and_then(|step| step.limit),
                cut: if step.is_some_and(|step| step.keeps) { cut } else { 0 },
                detected: mark.answered.map(|at| at.since(mark.at)),
                harm: log.harm(Window { from: mark.at.since(LEAD), to }, udp::SPACING),
            }
        };
        marks.iter().zip(ends).zip(cuts).map(judge).collect()
    }

    /// When sessions are put to the test: a fault does it at once, anything else when the traffic is moved.
    fn moments(&self) -> Vec<Nanos> {
        let moment = |mark: &Mark| match self.story.steps().get(mark.step).and_then(|step| step.deed) {
            Some(deed) if deed.breaks() => Some(mark.at),
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
            expected: self.story.steps().iter().filter(|step| step.answer.is_some()).count(),
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
