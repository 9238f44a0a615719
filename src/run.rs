//! `turnout run`: from a profile to a running router and back, in order. What is taken is given back in the reverse
//! order, whatever fails: values drop, none is leaked. The main thread becomes the management thread.
#![forbid(unsafe_code)]

mod cores;
mod member;
mod ports;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use cores::Cores;
use tracing::{error, info, warn};
use turnout::base::{IfaceId, Nanos, PortId, WorkerId};
use turnout::dpdk::{DpdkError, Eal, EalConfig, Hugepages, LinkWatcher, LinuxPort, Mbuf, Pool, Port};
use turnout::engine::host::HostEnd;
use turnout::engine::steer::Steer;
use turnout::engine::{Layout, Lcore, ManagerEnd, Trunk, connect, hand_overs};
use turnout::host;
use turnout::manage::control::{Control, Question};
use turnout::manage::hooks::Hooks;
use turnout::manage::journal;
use turnout::manage::log;
use turnout::manage::probes::names::Resolver;
use turnout::manage::protocol::Request;
use turnout::manage::reload::wanted_hooks;
use turnout::manage::views;
use turnout::manage::writer::Writer;
use turnout::manage::{Answer, Joining, Manager, NEIGHBORS, layout};
use turnout::nat::Nat;
use turnout::path::{Router, View};
use turnout::profile::{self, Identity, PortSpec, Profile, ReadError};
use turnout::table::hash::HashKey;
use turnout::table::neighbors::Neighbors;
use turnout::worker::{Idle, Queues, Worker, now};

/// A link that is down at the start may still be negotiating: it is believed after so long.
const GRACE: Nanos = Nanos::from_s(3);
/// `ready` is said after so long, even if a WAN has not been judged.
const READY: Nanos = Nanos::from_ms(1500);
/// An active member of a pair waits so long, at the end, for its partner to take the role.
const LEAVE: Nanos = Nanos::from_ms(1200);
/// The workers have so long to send what a member of a pair says last.
const FAREWELL: Duration = Duration::from_millis(5);
/// How long the management thread waits for a question.
const BEAT: Duration = Duration::from_millis(1);

type Failure = Box<dyn std::error::Error>;
/// The profile's file, and whose reading of it counts.
type Source<'a> = (&'a Path, &'a Identity);
/// The workers' threads. They end with this, whatever else fails, before the ports that they poll.
struct Workers {
    threads: Vec<WorkerThread>,
    ending: Arc<AtomicBool>,
    /// Ends after them, when all is written that they had to say.
    log: Option<Writer>,
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ending.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(e)) => error!("{e}"),
                Err(_) => error!("a worker has panicked"),
            }
        }
    }
}

type WorkerThread = JoinHandle<Result<(), DpdkError>>;

/// Runs the router of a profile until SIGTERM or SIGINT. Prints `ready` on stdout.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn run(path: &Path, identity: &Identity) -> Result<(), Failure> {
    let profile = profile::read(path, identity)?;
    let stop = Arc::new(AtomicBool::new(false));
    let hangup = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    signal_hook::flag::register(signal_hook::consts::SIGHUP, hangup.clone())?;
    let mut control = Control::bind(&profile.management.socket)?;
    let cores = Cores::choose(&profile);
    let joining = member::joining(&profile, cores.workers.len())?;
    // Claimed before DPDK looks at them, given back after it has let go.
    let layout = Arc::new(layout(&profile));
    let claimed = ports::claim(&profile, &layout)?;
    let eal = Eal::start(&eal_config(&profile, &layout, &cores))?;
    let result = serve(
        ((path, identity), &profile, &layout),
        &cores,
        &eal,
        &claimed,
        &mut control,
        (&stop, &hangup),
        joining,
    );
    drop(eal);
    // All at once: each takes some tools their time.
    std::thread::scope(|scope| {
        for port in claimed.into_iter().flatten() {
            scope.spawn(move || port.release().unwrap_or_else(|e| warn!("{e}")));
        }
    });
    result
}

fn mbufs(layout: &Layout, cores: &Cores) -> u32 {
    let queues = (layout.ports() * cores.workers.len()) as u32;
    // Rings full both ways, and what a worker holds, hands over and caches.
    (queues * u32::from(ports::DESCRIPTORS) * 2 + cores.workers.len() as u32 * 4096).max(8192)
}

fn eal_config(profile: &Profile, layout: &Layout, cores: &Cores) -> EalConfig {
    let firsts = ports::of_ports(profile, layout);
    let pci = firsts.iter().filter_map(|interfaces| match &interfaces.first()?.1.port {
        PortSpec::Pci(address) => Some(address.clone()),
        _ => None,
    });
    let room = ports::data_room(profile);
    EalConfig {
        manager_core: cores.manager,
        worker_cores: cores.workers.clone(),
        hugepages: match profile.engine.hugepages {
            profile::Hugepages::Auto => Hugepages::Auto,
            profile::Hugepages::Required => Hugepages::Required,
            profile::Hugepages::Never => Hugepages::Never,
        },
        memory_mb: ((mbufs(layout, cores) as usize * (usize::from(room) + 1024)) >> 20).max(64) + 64,
        pci: pci.collect(),
        extra: profile.engine.eal.clone(),
    }
}

fn serve(
    (source, profile, layout): (Source<'_>, &Profile, &Arc<Layout>),
    cores: &Cores,
    eal: &Eal,
    claimed: &[Option<LinuxPort>],
    control: &mut Control,
    (stop, hangup): (&AtomicBool, &AtomicBool),
    joining: Option<Joining>,
) -> Result<(), Failure> {
    let pool = Pool::new(eal, "packets", mbufs(layout, cores), ports::data_room(profile))?;
    let workers = cores.workers.len();
    let (mut ports, infos) = ports::open(profile, layout, (eal, &pool, workers))?;
    let view = Arc::new(views::first(profile, &infos, workers));
    // Declared after the ports: dropped before them.
    let mut started = Workers { threads: Vec::new(), ending: Arc::new(AtomicBool::new(false)), log: None };
    let mut host = host::start(&view, workers, now)?;
    let ends = std::mem::take(&mut host.ends);
    let ports_and_pool = (ports.as_mut_slice(), &pool);
    let lanes = start_workers((profile, layout), cores, eal, &view, ports_and_pool, ends, &mut started)?;
    let links = ports::watch(&ports, claimed)?;
    let mut manager = Manager::new(profile, &infos, view, lanes, now());
    manager.read_clock(now);
    manager.set_probes(views::probes(profile), Some(Resolver::start()?), rand::random());
    if let Some(log) = &started.log {
        manager.hear_writer("nat_log", log.reports.clone());
    }
    let wan_names = profile.wans.iter().map(|w| profile.interfaces[w.interface].name.clone()).collect();
    let (journal, pages) = journal::connect(wan_names);
    let pages = pages.start(&profile.management.journal)?;
    manager.hear_writer("journal", pages.reports.clone());
    manager.keep_journal(journal);
    if let Some(hooks) = Hooks::start(wanted_hooks(profile))? {
        manager.call_hooks(hooks);
    }
    manager.hear_host(host.reports, host.views);
    if let Some(joining) = joining {
        manager.join(joining, now());
    }
    manager.restore(&control.overrides(), now());
    let result = tell_events(&mut manager)
        .and_then(|()| control.listen(source.0, source.1).map_err(Failure::from))
        .and_then(|questions| {
            manage(&mut manager, (links, layout), &questions, &started.threads, stop, (hangup, source))
        });
    info!("stopping");
    drop(started);
    drop(host.host);
    for port in &mut ports {
        port.stop()?;
    }
    result
}

fn start_workers(
    (profile, layout): (&Profile, &Arc<Layout>),
    cores: &Cores,
    eal: &Eal,
    view: &Arc<View>,
    (ports, pool): (&mut [Port], &Pool),
    ends: Vec<HostEnd>,
    started: &mut Workers,
) -> Result<Vec<(usize, ManagerEnd)>, Failure> {
    let workers = cores.workers.len();
    let steer = Steer::new(workers);
    let linux = profile.interfaces.iter().any(|i| matches!(i.port, PortSpec::Linux(_)));
    let idle = match profile.engine.idle {
        profile::Idle::Poll => Idle::Poll,
        profile::Idle::Sleep => Idle::Sleep,
        profile::Idle::Auto if linux => Idle::Sleep,
        profile::Idle::Auto => Idle::Poll,
    };
    let mut shares: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for port in ports {
        for (share, queue) in shares.iter_mut().zip(port.take_queues()?) {
            share.push(queue);
        }
    }
    let paths = profile.cluster.as_ref().map_or(0, |cluster| cluster.paths.len());
    let (mut lanes, mut ends) = (Vec::new(), ends.into_iter());
    let mut routers = routers(profile, cores, steer, view)?;
    let nats = routers.iter_mut().map(|router| &mut router.nat);
    started.log = log::connect(profile, nats).map(|log| log.start(now)).transpose()?;
    let each =
        shares.into_iter().zip(hand_overs::<Mbuf>(workers)).zip(&cores.workers).zip(routers).enumerate();
    for (w, (((queues, hand_over), core), router)) in each {
        let id = WorkerId(w as u8);
        let (manager_end, lcore_end) = connect(profile.interfaces.len(), profile.wans.len(), paths);
        let mut lcore = Lcore::new(id, steer, view.clone(), router, lcore_end, hand_over);
        if let Some(end) = ends.next() {
            lcore.attach(end);
        }
        let queues = Trunk::new(Queues::new(queues, pool.clone()), layout.clone());
        let worker =
            Worker { eal: eal.share(), core: *core, lcore, queues, idle, stop: started.ending.clone() };
        started.threads.push(worker.spawn()?);
        lanes.push((*core, manager_end));
    }
    Ok(lanes)
}

/// Each worker's router, made on the worker's core and all at once: memory belongs to the NUMA node that touches it first,
/// and to fill the tables of millions of sessions takes seconds.
fn routers(
    profile: &Profile,
    cores: &Cores,
    steer: Steer,
    view: &View,
) -> Result<Vec<Router<Mbuf>>, Failure> {
    let build = |id: WorkerId, core: usize| {
        // Refused, the memory is another node's: slower, not wrong.
        core_affinity::set_for_current(CoreId { id: core });
        let config = views::nat_config(profile, cores.workers.len(), rand::random());
        let nat = Nat::new(&config, &|port: u16| steer.port(port) == id);
        let neighbors = Neighbors::new(NEIGHBORS as u32, HashKey::draw(&mut rand::rng()));
        Router::new(nat, neighbors, view)
    };
    std::thread::scope(|scope| {
        let start = |(w, core): (usize, &usize)| {
            let (build, core) = (&build, *core);
            scope.spawn(move || build(WorkerId(w as u8), core))
        };
        let threads: Vec<_> = cores.workers.iter().enumerate().map(start).collect();
        let failed = |_| Failure::from("a worker could not make its tables; see the lines above");
        threads.into_iter().map(|thread| thread.join().map_err(failed)).collect()
    })
}

/// Writes the events to the log, in a thread of its own: a slow terminal must not look like a dead line.
fn tell_events(manager: &mut Manager) -> Result<(), Failure> {
    let request = Request::Events { follow: true };
    let Answer::Follow(past, next) = manager.ask(request, now()) else { return Ok(()) };
    let tell = move || {
        for event in past.into_iter().chain(next) {
            info!("{event}");
        }
    };
    std::thread::Builder::new().name("events".into()).spawn(tell)?;
    Ok(())
}

/// Reads the profile again, in a thread of its own: a disk must not hold up a failover.
fn read_aside(
    (path, identity): Source<'_>,
    to: crossbeam_channel::Sender<Result<Profile, ReadError>>,
) -> Result<(), Failure> {
    let (path, identity) = (path.to_path_buf(), identity.clone());
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        // At the end of the router nobody waits for it.
        let _ = to.send(profile::read(&path, &identity));
    })?;
    Ok(())
}

/// The management thread's loop.
fn manage(
    manager: &mut Manager,
    (mut links, layout): (LinkWatcher, &Layout),
    questions: &crossbeam_channel::Receiver<Question>,
    threads: &[WorkerThread],
    stop: &AtomicBool,
    (hangup, source): (&AtomicBool, Source<'_>),
) -> Result<(), Failure> {
    let (read, to_take_up) = crossbeam_channel::bounded(1);
    let started = now();
    let mut ready = false;
    let mut doubted: Vec<PortId> = Vec::new();
    let mut believed: Vec<PortId> = Vec::new();
    let link = |manager: &mut Manager, at, port: PortId, up| {
        for iface in layout.interfaces(port.0.into()) {
            manager.link(at, IfaceId(iface as u8), up);
        }
    };
    let mut leaving: Option<Nanos> = None;
    loop {
        let at = now();
        if stop.load(Relaxed) {
            let since = *leaving.get_or_insert(at);
            let left = if since == at { manager.leave(at) } else { manager.left() };
            if left || at.since(since) >= LEAVE {
                if manager.farewell(at) {
                    std::thread::sleep(FAREWELL);
                }
                break;
            }
        }
        links.poll(at, &mut |port, up| {
            doubted.retain(|p| *p != port);
            if up || believed.contains(&port) || at.since(started) >= GRACE {
                believed.push(port);
                link(manager, at, port, up);
            } else {
                doubted.push(port);
            }
        });
        if at.since(started) >= GRACE {
            for port in doubted.drain(..) {
                link(manager, at, port, false);
            }
        }
        manager.step(at);
        if !ready && (manager.settled() || at.since(started) >= READY) {
            ready = true;
            // Nobody may be waiting for it.
            let _ = writeln!(std::io::stdout(), "ready");
        }
        if hangup.swap(false, Relaxed) {
            read_aside(source, read.clone())?;
        }
        match to_take_up.try_recv() {
            Ok(Ok(profile)) => {
                if let Err(why) = manager.reload(profile, None, now()) {
                    manager.refuse_reload(&why, now());
                }
            }
            Ok(Err(mistakes)) => manager.refuse_reload(&mistakes.to_string(), now()),
            Err(_) => {}
        }
        if let Some(dead) = threads.iter().position(JoinHandle::is_finished) {
            return Err(format!("worker {dead} has ended; see the lines above, then start again").into());
        }
        let mut next = questions.recv_timeout(BEAT).ok();
        while let Some(question) = next {
            let answer = match (question.request, question.profile) {
                (Request::Reload { confirm_s }, Some(profile)) => {
                    manager.ask_to_reload(*profile, confirm_s, now())
                }
                (request, _) => manager.ask(request, now()),
            };
            // Nobody may be waiting any more.
            let _ = question.answer.try_send(answer);
            next = questions.try_recv().ok();
        }
    }
    Ok(())
}
