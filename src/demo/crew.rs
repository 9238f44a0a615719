//! The routers of a lab: started in order, watched, killed and started again as the story has it, and stopped at its end.
//!
//! A router that ends without having been told to ends the story. Whatever a router has decided is decided again from its journal when all
//! is over, killed or not.
#![forbid(unsafe_code)]

use std::path::PathBuf;

use super::lab::{Lab, LabError, Router, Stop};
use super::stage::Stage;
use super::watch::{Event, Look, Watch};
use super::{DemoError, clock};
use crate::base::Nanos;
use crate::manage::protocol::{Request, ask_one};

/// A router to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The host that it runs on.
    pub host: &'static str,
    /// What it is called when it is spoken of.
    pub called: &'static str,
    /// Its profile; that of a pair is the same for both members.
    pub profile: String,
    /// What it is.
    pub part: Part,
}

/// What a router is in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It chooses the ISP.
    Router,
    /// It is there.
    Node,
    /// One of a pair.
    Member,
}

/// One that is there.
#[derive(Debug)]
struct Hand {
    post: Post,
    router: Router,
    /// It was killed.
    dead: bool,
    watch: Option<Watch>,
}

/// All that are there.
#[derive(Debug)]
pub struct Crew<'a> {
    lab: &'a Lab,
    binary: PathBuf,
    stop: Stop,
    hands: Vec<Hand>,
}

impl<'a> Crew<'a> {
    /// Starts them, one after the other.
    ///
    /// # Errors
    /// If one of them does not start.
    pub fn start(lab: &'a Lab, posts: Vec<Post>, stage: &Stage) -> Result<Crew<'a>, DemoError> {
        let (binary, stop) = (super::router_binary()?, stage.stop.clone());
        let mut crew = Crew { lab, binary, stop, hands: Vec::new() };
        for post in posts {
            let router = crew.run(&post)?;
            let watch = Crew::watched(&post, &router)?;
            stage.say(clock::now(), &format!("{} is ready", post.called));
            crew.hands.push(Hand { post, router, dead: false, watch });
        }
        Ok(crew)
    }

    fn run(&self, post: &Post) -> Result<Router, LabError> {
        match post.part {
            Part::Member => self.lab.start_member(post.host, &self.binary, &post.profile, &self.stop),
            _ => self.lab.start_router_in(post.host, &self.binary, &post.profile, &self.stop),
        }
    }

    fn watched(post: &Post, router: &Router) -> Result<Option<Watch>, LabError> {
        match post.part {
            Part::Node => Ok(None),
            Part::Router | Part::Member => Ok(Some(Watch::start(router.socket())?)),
        }
    }

    fn hand(&mut self, host: &str) -> Result<&mut Hand, LabError> {
        let found = self.hands.iter_mut().find(|hand| hand.post.host == host);
        found.ok_or_else(|| LabError::NoHost(host.to_owned()))
    }

    /// Whether it is a pair.
    pub fn is_pair(&self) -> bool {
        self.hands.iter().any(|hand| hand.post.part == Part::Member)
    }

    /// Whether a router of its own chooses the ISP.
    pub fn has_router(&self) -> bool {
        self.hands.iter().any(|hand| hand.post.part == Part::Router)
    }

    /// Kills one as a crash would; returns when that was.
    ///
    /// # Errors
    /// If there is none on that host.
    pub fn kill(&mut self, host: &str) -> Result<Nanos, LabError> {
        let hand = self.hand(host)?;
        let at = clock::now();
        hand.dead = true;
        hand.watch = None;
        hand.router.kill();
        Ok(at)
    }

    /// Starts one again that was killed; returns when that was.
    ///
    /// # Errors
    /// If it does not start.
    pub fn revive(&mut self, host: &str) -> Result<Nanos, LabError> {
        let post = self.hand(host)?.post.clone();
        let at = clock::now();
        let router = self.run(&post)?;
        let watch = Crew::watched(&post, &router)?;
        let hand = self.hand(host)?;
        (hand.router, hand.watch, hand.dead) = (router, watch, false);
        Ok(at)
    }

    /// The operator's `turnout cluster yield` at that member; returns when that was.
    ///
    /// # Errors
    /// If it refuses.
    pub fn yields(&mut self, host: &str) -> Result<Nanos, LabError> {
        let socket = self.hand(host)?.router.socket().to_path_buf();
        let at = clock::now();
        let refused = |why: String| LabError::Router(format!("did not yield: {why}"));
        ask_one(&socket, &Request::Yield).map_err(|e| refused(e.to_string()))?;
        Ok(at)
    }

    /// What they have told since, each with its host.
    pub fn events(&self) -> Vec<(&'static str, Event)> {
        let of = |hand: &'_ Hand| -> Vec<(&'static str, Event)> {
            let watch = hand.watch.iter().flat_map(|watch| watch.events.try_iter());
            watch.map(|event| (hand.post.host, event)).collect()
        };
        self.hands.iter().flat_map(of).collect()
    }

    /// How they look; the members of a pair as lines of their own, its router not at all.
    pub fn looks(&self) -> Vec<Look> {
        let pair = self.is_pair();
        let of = |hand: &'_ Hand| -> Vec<Look> {
            let watch = hand.watch.iter().flat_map(|watch| watch.looks.try_iter());
            match hand.post.part {
                Part::Member => watch.map(|look| look.member(hand.post.host)).collect(),
                _ => watch.filter(|_| !pair).collect(),
            }
        };
        self.hands.iter().flat_map(of).collect()
    }

    /// What they last said on stderr.
    pub fn said(&self) -> String {
        let each = self.hands.iter().map(|hand| format!("{}: {}", hand.post.called, hand.router.said()));
        each.collect::<Vec<_>>().join("; ")
    }

    /// Makes sure that all who should be there are.
    ///
    /// # Errors
    /// If one has ended by itself.
    pub fn check(&mut self) -> Result<(), LabError> {
        for hand in self.hands.iter_mut().filter(|hand| !hand.dead) {
            if let Some(status) = hand.router.ended() {
                let (called, said) = (hand.post.called, hand.router.said());
                let why = format!("({called}) ended during the demo ({status}): {said}");
                return Err(LabError::Router(why));
            }
        }
        Ok(())
    }

    /// Stops all of them, and decides their journals again.
    ///
    /// # Errors
    /// If one does not stop, or decides otherwise.
    pub fn dismiss(mut self) -> Result<(), LabError> {
        for hand in &mut self.hands {
            hand.watch = None;
            if !hand.dead {
                hand.router.stop()?;
            }
        }
        self.hands.iter_mut().try_for_each(|hand| hand.router.replay())
    }
}
