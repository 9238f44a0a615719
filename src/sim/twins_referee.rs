//! Who watches two whole members, knowing lines, links, what each says of itself and what each has on disk (`pair_referee` is the same for the bare
//! machines).
//!
//! - Both active: for two beats at most while a path joins two members that are awake.
//! - Nobody active, though a member is fit: for `timeout` and two beats at most, while no line loses by chance and no member gets better or worse.
//! - While a path joins them and the pair has settled, the role is never let go before the other member has it.
//! - No disk ever gets a lower preference or boot id, and nobody says what is not on its disk; where a path joins them both have the same.
//! - A packet that reaches both goes on by both no longer than both are active, and who has let go takes in what is late.
//! - Each member's own books: as `Site` watches them, and the NAT's tables.

use crate::base::Nanos;
use crate::cluster::{Beat, ClusterView, Kept, Key, Reason, Role, beat};
use crate::profile::Profile;
use crate::wire::{eth, ipv4, udp};

use super::site::Site;
use super::twins::{KEY, STEP, Twins};
use super::weather::Plate;

/// No frame is under way for longer, and no disk takes longer, unless the caller wants other bounds.
pub const SLOWEST: Nanos = Nanos::from_ms(30);
/// Members that have never heard each other since they started find each other by ARP, which asks once a second.
const MEET: Nanos = Nanos::from_ms(1300);
/// Who has let go takes in for so long what still comes to the virtual MAC.
const FORMER: Nanos = Nanos::from_s(1);
/// Faults that are kept.
const FAULTS: usize = 8;
/// Where a datagram's payload begins, in a frame.
const PAYLOAD: usize = eth::LEN + ipv4::MIN_LEN + udp::LEN;

/// What the bounds of a moment depend on.
#[derive(Clone, Debug, PartialEq)]
struct Scene {
    changes: u64,
    /// By path and member: the link is there
    on: Vec<[bool; 2]>,
    awake: [bool; 2],
    fit: [bool; 2],
    able: [bool; 2],
    boots: [u64; 2],
}

/// The one who watches.
pub struct Referee {
    seed: u64,
    key: Option<Key>,
    every: Nanos,
    bound: Nanos,
    paths: Vec<String>,
    scene: Option<Scene>,
    sure_since: Nanos,
    /// By path: it joins two members that are awake, since; `NEVER`: it does not
    joined_since: Vec<Nanos>,
    /// By path and member: since it started it has heard the other one there
    heard: Vec<[bool; 2]>,
    /// By path: both have, since then; `NEVER`: they have not
    met_since: Vec<Nanos>,
    /// Who is active, and since when
    active: [bool; 2],
    turned: Nanos,
    two_since: Option<Nanos>,
    none_since: Option<Nanos>,
    both_since: Option<Nanos>,
    had: usize,
    /// When the operator preferred a member last
    pub(super) spoke: Nanos,
    newest: Option<Kept>,
    /// Take-overs so far, and moments with two active
    pub(super) seen: [u32; 2],
    faults: Vec<String>,
}

impl Referee {
    pub(super) fn new(seed: u64, profile: &Profile) -> Referee {
        let cluster = profile.cluster.as_ref();
        let name = |at: usize| profile.interfaces.get(at).map(|interface| interface.name.clone());
        let paths = cluster.into_iter().flat_map(|cluster| &cluster.paths);
        let paths: Vec<String> = paths.filter_map(|path| name(path.interface)).collect();
        let every = cluster.map_or(Nanos::ZERO, |cluster| cluster.every);
        Referee {
            seed,
            key: Key::new(KEY),
            every,
            bound: cluster.map_or(Nanos::ZERO, |cluster| cluster.timeout) + every + every,
            scene: None,
            sure_since: Nanos::ZERO,
            joined_since: vec![Nanos::NEVER; paths.len()],
            heard: vec![[false; 2]; paths.len()],
            met_since: vec![Nanos::NEVER; paths.len()],
            paths,
            active: [false; 2],
            turned: Nanos::ZERO,
            two_since: None,
            none_since: None,
            both_since: None,
            had: 0,
            spoke: Nanos::ZERO,
            newest: None,
            seen: [0; 2],
            faults: Vec::new(),
        }
    }

    fn tell(&mut self, now: Nanos, what: &str) {
        if self.faults.len() < FAULTS {
            self.faults.push(format!("seed {}, {} us: {what}", self.seed, now.0 / 1000));
        }
    }

    /// What was found wrong so far.
    pub(super) fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The newest preference that was ever on a disk.
    pub(super) fn newest(&self) -> Option<Kept> {
        self.newest
    }

    /// A member ends: its books are closed.
    pub(super) fn bury(&mut self, site: &mut Site) {
        let now = site.now;
        site.take_all();
        let tables = site.lcores.iter().filter_map(|lcore| lcore.router.nat.audit().err());
        // What was sent just before the role went is looked at after that.
        let late = |fault: &String| fault.starts_with("a frame with the source 00:00:5e:");
        let faults: Vec<String> = std::mem::take(&mut site.faults).into_iter().chain(tables).collect();
        let faults: Vec<String> = faults.into_iter().filter(|fault| !late(fault)).collect();
        faults.iter().for_each(|fault| self.tell(now, fault));
    }

    /// A disk has been written.
    pub(super) fn kept(&mut self, now: Nanos, at: usize, before: Option<Kept>, kept: Kept) {
        if before.is_some_and(|before| before.preference > kept.preference || before.boot > kept.boot) {
            self.tell(now, &format!("member {at} keeps {kept:?} in place of {before:?}"));
        }
        if self.newest.is_none_or(|newest| newest.preference < kept.preference) {
            self.newest = Some(kept);
        }
    }

    /// A member has sent this.
    pub(super) fn sent(&mut self, site: &Site, disk: &Plate, frame: &[u8]) {
        let payload = frame.get(PAYLOAD..).filter(|payload| payload.len() == beat::LEN);
        let (Some(key), Some(payload)) = (&self.key, payload) else { return };
        let Ok((_, beat)) = Beat::open(key, payload) else { return };
        let unkept = |kept: Kept| kept.preference < beat.preference || kept.boot != beat.boot;
        if disk.kept.is_none_or(unkept) {
            self.tell(
                site.now,
                &format!("{} says what it has not kept: {beat:?}, {:?}", beat.name, disk.kept),
            );
        }
    }

    /// A packet that reached both went on by both, or not.
    pub(super) fn probed(&mut self, now: Nanos, both: bool) {
        let joined = self.joined();
        if !both || joined == Nanos::NEVER {
            self.both_since = None;
            return;
        }
        let since = self.both_since.unwrap_or(now).max(joined).max(self.turned);
        if now.since(since) > self.every + self.every + SLOWEST + SLOWEST + FORMER + STEP {
            self.tell(now, "both forward what comes to the virtual MAC");
        }
        self.both_since = Some(since);
    }

    /// A member starts anew.
    pub(super) fn restarted(&mut self, at: usize) {
        for (heard, met) in self.heard.iter_mut().zip(&mut self.met_since) {
            (heard[at], *met) = (false, Nanos::NEVER);
        }
    }

    /// A member has got this.
    pub(super) fn delivered(&mut self, now: Nanos, to: usize, link: &str, frame: &[u8]) {
        let beat = frame.get(PAYLOAD..).is_some_and(|payload| payload.starts_with(b"tob"));
        let Some(path) = self.paths.iter().position(|path| path == link).filter(|_| beat) else { return };
        let heard = &mut self.heard[path];
        heard[to] = true;
        if *heard == [true; 2] {
            self.met_since[path] = self.met_since[path].min(now);
        }
    }

    /// Since when a path joins two members that know each other there.
    fn joined(&self) -> Nanos {
        let each = self.joined_since.iter().zip(&self.met_since).map(|(joined, met)| *joined.max(met));
        each.min().unwrap_or(Nanos::NEVER)
    }

    /// They find each other soon on each path that joins them.
    fn meet(&mut self, now: Nanos) {
        let most = MEET + self.every + SLOWEST + SLOWEST + SLOWEST;
        let late = |(joined, met): (&Nanos, &Nanos)| {
            *met == Nanos::NEVER && *joined != Nanos::NEVER && now.since(*joined) > most
        };
        if self.joined_since.iter().zip(&self.met_since).any(late) {
            self.tell(now, "they do not find each other");
        }
    }

    /// Looks at everything.
    pub(super) fn watch(&mut self, twins: &Twins) {
        let now = twins.now();
        let views = [0, 1].map(|at| {
            let site = twins.members.get(at).filter(|_| !twins.dead[at]);
            site.and_then(|site| Some(site.manager.pair(now)?.0))
        });
        let awake = [0, 1].map(|at| views[at].is_some() && twins.stalled[at] <= now);
        let on = |path: &String| [0, 1].map(|at| twins.members[at].is_on(path));
        let scene = Scene {
            changes: twins.weather.changes,
            on: self.paths.iter().map(on).collect(),
            awake,
            fit: views.map(|view| view.is_some_and(|view| view.member.healthy)),
            able: views.map(|view| view.is_some_and(able)),
            boots: [0, 1].map(|at| twins.disks[at].kept.map_or(0, |kept| kept.boot)),
        };
        for (at, path) in self.paths.iter().enumerate() {
            let fair = (0..2).all(|from| twins.weather.of(from, path).loss == 0);
            let joins = fair && scene.on[at] == [true; 2] && awake == [true; 2];
            let since = &mut self.joined_since[at];
            *since = if joins { (*since).min(now) } else { Nanos::NEVER };
        }
        if self.scene.as_ref() != Some(&scene) {
            self.sure_since = now;
            self.scene = Some(scene.clone());
        }
        self.meet(now);
        let active = views.map(|view| view.is_some_and(|view| view.member.role == Role::Active));
        if active != std::mem::replace(&mut self.active, active) {
            self.turned = now;
        }
        let count = active.iter().filter(|active| **active).count();
        self.two(now, count);
        let sure = twins.weather.is_sure();
        self.none(now, active, &scene, sure);
        self.hand_overs(now, count, &scene);
        self.preferences(now, &views);
        self.seen[0] += u32::from(count > self.had);
        self.seen[1] += u32::from(count == 2 && self.had != 2);
        self.had = count;
    }

    fn two(&mut self, now: Nanos, count: usize) {
        let joined = self.joined();
        if count < 2 || joined == Nanos::NEVER {
            self.two_since = None;
            return;
        }
        let since = self.two_since.unwrap_or(now).max(joined);
        // A beat may wait for the disk.
        if now.since(since) > self.every + self.every + SLOWEST + SLOWEST + STEP {
            self.tell(now, "both are active for more than two beats");
        }
        self.two_since = Some(since);
    }

    fn none(&mut self, now: Nanos, active: [bool; 2], scene: &Scene, sure: bool) {
        let can = (0..2).any(|at| scene.fit[at] && scene.awake[at]);
        let serves = (0..2).any(|at| active[at] && scene.able[at]);
        let slow = (0..2).any(|at| scene.boots[at] != 0 && !scene.awake[at] && scene.fit[at]);
        if !sure || serves || !can || slow {
            self.none_since = None;
            return;
        }
        let since = self.none_since.unwrap_or(now).max(self.sure_since);
        if now.since(since) > self.bound + SLOWEST + SLOWEST + SLOWEST + STEP {
            self.tell(now, "nobody is active, though somebody could be");
        }
        self.none_since = Some(since);
    }

    fn hand_overs(&mut self, now: Nanos, count: usize, scene: &Scene) {
        let joined = self.joined();
        let settled = joined != Nanos::NEVER && now.since(joined) > self.bound + SLOWEST + SLOWEST;
        if settled && scene.able != [false; 2] && self.had > 0 && count == 0 {
            self.tell(now, "the role was let go before the other had it");
        }
    }

    fn preferences(&mut self, now: Nanos, views: &[Option<ClusterView>; 2]) {
        let [Some(a), Some(b)] = views else { return };
        let spoken = self.every + self.every + SLOWEST + SLOWEST + SLOWEST + STEP;
        let joined = self.joined();
        let settled = joined != Nanos::NEVER && now.since(joined) > spoken;
        let differ = a.member.preference != b.member.preference;
        if settled && differ && now.since(self.spoke) > spoken {
            self.tell(now, "they prefer different members");
        }
    }
}

fn able(view: ClusterView) -> bool {
    !view.member.reasons.has(Reason::InsideDown)
}
