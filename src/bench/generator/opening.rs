//! Before the race: the links come up, the router is found, every session is opened and tried once each way.
//!
//! At most a window of flows is under way and what does not come back is sent again, so that none is lost to a queue that
//! is full or to a neighbour that is not known yet.

use std::collections::VecDeque;

use super::Failure;
use super::frames::{self, Ends, inside};
use super::line::{Line, Spare};
use crate::base::{Mac, Nanos};
use crate::worker::now;

/// Flows under way at a time.
const WINDOW: usize = 128;
/// What has not come back by then is sent again.
const AGAIN: Nanos = Nanos::from_ms(100);
/// Without any progress for so long it is given up.
const PATIENCE: Nanos = Nanos::from_s(20);

/// What was opened.
pub(super) struct Opened {
    /// Each flow as the outside sees it
    pub(super) outside: Vec<Ends>,
    /// The router's addresses, LAN and WAN
    pub(super) routers: [Mac; 2],
}

/// Opens `flows` sessions through what is between the two ports. `plain`: it only passes frames on, as a wire does.
///
/// # Errors
/// What did not come, in one line.
pub(super) fn open(lines: &mut [Line; 2], flows: u32, bytes: usize, plain: bool) -> Result<Opened, Failure> {
    patiently("a port's link stays down: nobody is at the other end", || {
        let up = lines.iter().all(Line::up);
        std::thread::sleep(std::time::Duration::from_millis(1));
        up
    })?;
    let routers = if plain { [lines[1].mac(), lines[0].mac()] } else { find(lines)? };
    let mut outside: Vec<Ends> = (0..flows).map(inside).collect();
    let [lan, wan] = lines;
    // One alone first: the way must be there before many are sent along it.
    for some in [1, flows] {
        cross(lan, wan, some, bytes, routers[0], inside, |flow, ends| {
            outside[flow as usize] = ends;
            ends.dst == inside(flow).dst && (!plain || ends == inside(flow))
        })
        .map_err(|e| format!("LAN to WAN: {e}"))?;
    }
    cross(
        wan,
        lan,
        flows,
        bytes,
        routers[1],
        |flow| outside[flow as usize].back(),
        |flow, ends| ends == inside(flow).back(),
    )
    .map_err(|e| format!("WAN to LAN: {e}"))?;
    Ok(Opened { outside, routers })
}

/// Asks both of the router's addresses for their MAC.
fn find(lines: &mut [Line; 2]) -> Result<[Mac; 2], Failure> {
    let mut asked = Nanos::ZERO;
    patiently("the router does not answer to ARP for both of its addresses", || {
        if now().since(asked) >= AGAIN {
            asked = now();
            for line in lines.iter_mut() {
                line.ask();
            }
        }
        for line in lines.iter_mut() {
            line.receive(&mut Spare::new(), |_| {});
        }
        lines.iter().all(|line| line.router.is_some())
    })?;
    Ok([lines[0].router.unwrap_or(Mac::ZERO), lines[1].router.unwrap_or(Mac::ZERO)])
}

fn patiently(what: &str, mut done: impl FnMut() -> bool) -> Result<(), Failure> {
    let start = now();
    while !done() {
        if now().since(start) >= PATIENCE {
            return Err(what.into());
        }
    }
    Ok(())
}

/// Sends one frame of each of the flows `0..flows` from one port until it has come in at the other; `good` judges its ends.
fn cross(
    from: &mut Line,
    to: &mut Line,
    flows: u32,
    bytes: usize,
    router: Mac,
    ends: impl Fn(u32) -> Ends,
    mut good: impl FnMut(u32, Ends) -> bool,
) -> Result<(), Failure> {
    let mut left: VecDeque<u32> = (0..flows).collect();
    let mut under_way: VecDeque<(Nanos, u32)> = VecDeque::with_capacity(WINDOW);
    let mut arrived = vec![false; flows as usize];
    let (mut missing, mut progress, mut wrong) = (flows, now(), None);
    let mut frame = vec![0; bytes];
    let mac = from.mac();
    while missing > 0 {
        let at = now();
        while under_way
            .front()
            .is_some_and(|(sent, flow)| arrived[*flow as usize] || at.since(*sent) >= AGAIN)
        {
            let Some((_, flow)) = under_way.pop_front() else { break };
            if !arrived[flow as usize] {
                left.push_front(flow);
            }
        }
        while under_way.len() < WINDOW {
            let Some(flow) = left.pop_front() else { break };
            frames::write(&mut frame, flow, ends(flow), mac, router);
            let went = from.say(&frame);
            under_way.push_back((at, flow));
            if !went {
                break;
            }
        }
        to.receive(&mut Spare::new(), |frame| {
            let Some((flow, ends)) = frames::read(frame).filter(|(flow, _)| *flow < flows) else { return };
            if !good(flow, ends) {
                wrong = Some((flow, ends));
            } else if !std::mem::replace(&mut arrived[flow as usize], true) {
                missing -= 1;
                progress = at;
            }
        });
        // What answers there are to ARP, or errors.
        from.receive(&mut Spare::new(), |_| {});
        if let Some((flow, ends)) = wrong {
            return Err(format!("flow {flow} {:?} came out as {ends:?}", inside(flow)).into());
        }
        if at.since(progress) >= PATIENCE {
            return Err(format!("{missing} of {flows} flows did not come through").into());
        }
    }
    Ok(())
}
