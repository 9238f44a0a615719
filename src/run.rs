//! `turnout run`: from a profile to a running router and back, in order. What is taken is given back in the reverse
//! order, whatever fails: values drop, none is leaked. The main thread becomes the management thread.
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use core_affinity::CoreId;
use tracing::{error, info, warn};
use turnout::base::{IfaceId, Nanos, PortId, WorkerId};
use turnout::dpdk::{
    DpdkError, Eal, EalConfig, Hugepages, LinkSource, LinkWatcher, LinuxPort, Mbuf, Pool, Port, PortConfig,
    PortSource, RssRule,
};
use turnout::engine::host::HostEnd;
use turnout::engine::rss::{self, Role};
use turnout::engine::steer::Steer;
use turnout::engine::{Lcore, ManagerEnd, connect, hand_overs};
use turnout::host;
use turnout::manage::control::{Control, Question};
use turnout::manage::hooks::Hooks;
use turnout::manage::journal;
use turnout::manage::log;
use turnout::manage::probes::names::Resolver;
use turnout::manage::protocol::Request;
use turnout::manage::reload::wanted_hooks;
use turnout::manage::views::{self, PortInfo};
use turnout::manage::writer::Writer;
use turnout::manage::{Answer, Manager, NEIGHBORS};
use turnout::nat::Nat;
use turnout::path::{Router, View};
use turnout::profile::{self, PortSpec, Profile, ReadError};
use turnout::table::hash::HashKey;
use turnout::table::neighbors::Neighbors;
use turnout::worker::{Idle, Queues, Worker, now};

/// Receive and transmit descriptors of a queue.
const DESCRIPTORS: u16 = 1024;
/// A link that is down at the start may still be negotiating: it is believed after so long.
const GRACE: Nanos = Nanos::from_s(3);
/// `ready` is said after so long, even if a WAN has not been judged.
const READY: Nanos = Nanos::from_ms(1500);
/// How long the management thread waits for a question.
const BEAT: Duration = Duration::from_millis(1);

mod cores;
use cores::Cores;

type Failure = Box<dyn std::error::Error>;
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

fn source(spec: &PortSpec) -> PortSource {
    match spec {
        PortSpec::Pci(address) => PortSource::Pci(address.clone()),
        PortSpec::Linux(name) => PortSource::Linux(name.clone()),
        PortSpec::Vdev(args) => PortSource::Vdev(args.clone()),
    }
}

/// Runs the router of a profile until SIGTERM or SIGINT. Prints `ready` on stdout.
///
/// # Errors
/// What is wrong and what to do, in one line.
pub fn run(path: &Path) -> Result<(), Failure> {
    let profile = profile::read(path)?;
    let stop = Arc::new(AtomicBool::new(false));
    let hangup = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    signal_hook::flag::register(signal_hook::consts::SIGHUP, hangup.clone())?;
    let mut control = Control::bind(&profile.management.socket)?;
    let cores = Cores::choose(&profile);
    // Claimed before DPDK looks at them, given back after it has let go.
    let claimed = claim(&profile)?;
    let eal = Eal::start(&eal_config(&profile, &cores))?;
    let result = serve((path, &profile), &cores, &eal, &claimed, &mut control, (&stop, &hangup));
    drop(eal);
    for port in claimed.into_iter().flatten() {
        if let Err(e) = port.release() {
            warn!("{e}");
        }
    }
    result
}

/// What the NIC of an interface is told of who owns what comes in there.
fn rule(wan: bool) -> RssRule {
    let key: fn(usize) -> Option<Vec<u8>> =
        if wan { |len| rss::key(Role::Wan, len) } else { |len| rss::key(Role::Inside, len) };
    RssRule { key, redirection: rss::redirection }
}

fn claim(profile: &Profile) -> Result<Vec<Option<LinuxPort>>, Failure> {
    let claim = |spec: &PortSpec| match spec {
        PortSpec::Linux(name) => LinuxPort::claim(name).map(Some),
        _ => Ok(None),
    };
    Ok(profile.interfaces.iter().map(|i| claim(&i.port)).collect::<Result<_, _>>()?)
}

fn mbufs(profile: &Profile, cores: &Cores) -> u32 {
    let queues = (profile.interfaces.len() * cores.workers.len()) as u32;
    // Rings full both ways, and what a worker holds, hands over and caches.
    (queues * u32::from(DESCRIPTORS) * 2 + cores.workers.len() as u32 * 4096).max(8192)
}

fn eal_config(profile: &Profile, cores: &Cores) -> EalConfig {
    let pci = profile.interfaces.iter().filter_map(|i| match &i.port {
        PortSpec::Pci(address) => Some(address.clone()),
        _ => None,
    });
    EalConfig {
        manager_core: cores.manager,
        worker_cores: cores.workers.clone(),
        hugepages: match profile.engine.hugepages {
            profile::Hugepages::Auto => Hugepages::Auto,
            profile::Hugepages::Required => Hugepages::Required,
            profile::Hugepages::Never => Hugepages::Never,
        },
        memory_mb: (mbufs(profile, cores) as usize * 3 / 1024).max(64) + 64,
        pci: pci.collect(),
        extra: profile.engine.eal.clone(),
    }
}

fn serve(
    (path, profile): (&Path, &Profile),
    cores: &Cores,
    eal: &Eal,
    claimed: &[Option<LinuxPort>],
    control: &mut Control,
    (stop, hangup): (&AtomicBool, &AtomicBool),
) -> Result<(), Failure> {
    let pool = Pool::new(eal, "packets", mbufs(profile, cores), Pool::DATA_ROOM)?;
    let workers = cores.workers.len();
    let mut ports = Vec::new();
    for (i, interface) in profile.interfaces.iter().enumerate() {
        let config = PortConfig {
            queues: workers as u16,
            rx_desc: DESCRIPTORS,
            tx_desc: DESCRIPTORS,
            rss: Some(rule(profile.wans.iter().any(|wan| wan.interface == i))),
            ..PortConfig::new(pool.clone())
        };
        let mut port = Port::open(eal, &source(&interface.port), PortId(i as u16), &config)?;
        port.start()?;
        ports.push(port);
    }
    // Once all are open: a start that fails says that alone.
    for (interface, port) in profile.interfaces.iter().zip(&ports) {
        info!("{}: {}, {}, mtu {}", interface.name, port.name(), port.caps(), port.mtu());
    }
    let infos: Vec<PortInfo> =
        ports.iter().map(|p| PortInfo { mac: p.mac(), mtu: p.mtu().min(1500) }).collect();
    let view = Arc::new(views::first(profile, &infos, workers));
    // Declared after the ports: dropped before them.
    let mut started = Workers { threads: Vec::new(), ending: Arc::new(AtomicBool::new(false)), log: None };
    let mut host = host::start(&view, workers, now)?;
    let ends = std::mem::take(&mut host.ends);
    let lanes = start_workers(profile, cores, eal, &view, (&mut ports, &pool), ends, &mut started)?;
    let link = |(i, port): (usize, &Port)| match claimed[i].as_ref() {
        Some(linux) => (PortId(i as u16), LinkSource::Linux(linux.ifindex())),
        None => (PortId(i as u16), LinkSource::Ask(port.link_probe())),
    };
    let links = LinkWatcher::new(ports.iter().enumerate().map(link))?;
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
    manager.restore(&control.overrides(), now());
    let result =
        tell_events(&mut manager).and_then(|()| control.listen(path).map_err(Failure::from)).and_then(
            |questions| manage(&mut manager, links, &questions, &started.threads, stop, (hangup, path)),
        );
    info!("stopping");
    drop(started);
    drop(host.host);
    for port in &mut ports {
        port.stop()?;
    }
    result
}

fn start_workers(
    profile: &Profile,
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
    let (mut lanes, mut ends) = (Vec::new(), ends.into_iter());
    let mut routers = routers(profile, cores, steer, view)?;
    let nats = routers.iter_mut().map(|router| &mut router.nat);
    started.log = log::connect(profile, nats).map(|log| log.start(now)).transpose()?;
    let each =
        shares.into_iter().zip(hand_overs::<Mbuf>(workers)).zip(&cores.workers).zip(routers).enumerate();
    for (w, (((queues, hand_over), core), router)) in each {
        let id = WorkerId(w as u8);
        let (manager_end, lcore_end) = connect(profile.interfaces.len(), profile.wans.len());
        let mut lcore = Lcore::new(id, steer, view.clone(), router, lcore_end, hand_over);
        if let Some(end) = ends.next() {
            lcore.attach(end);
        }
        let queues = Queues::new(queues, pool.clone());
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
        Router::new(nat, neighbors, profile.interfaces.len(), &view.icmp)
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
fn read_aside(path: &Path, to: crossbeam_channel::Sender<Result<Profile, ReadError>>) -> Result<(), Failure> {
    let path = path.to_path_buf();
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        // At the end of the router nobody waits for it.
        let _ = to.send(profile::read(&path));
    })?;
    Ok(())
}

/// The management thread's loop.
fn manage(
    manager: &mut Manager,
    mut links: LinkWatcher,
    questions: &crossbeam_channel::Receiver<Question>,
    threads: &[WorkerThread],
    stop: &AtomicBool,
    (hangup, path): (&AtomicBool, &Path),
) -> Result<(), Failure> {
    let (read, to_take_up) = crossbeam_channel::bounded(1);
    let started = now();
    let mut ready = false;
    let mut doubted: Vec<PortId> = Vec::new();
    let mut believed: Vec<PortId> = Vec::new();
    while !stop.load(Relaxed) {
        let at = now();
        links.poll(at, &mut |port, up| {
            doubted.retain(|p| *p != port);
            if up || believed.contains(&port) || at.since(started) >= GRACE {
                believed.push(port);
                manager.link(at, IfaceId(port.0 as u8), up);
            } else {
                doubted.push(port);
            }
        });
        if at.since(started) >= GRACE {
            for port in doubted.drain(..) {
                manager.link(at, IfaceId(port.0 as u8), false);
            }
        }
        manager.step(at);
        if !ready && (manager.settled() || at.since(started) >= READY) {
            ready = true;
            // Nobody may be waiting for it.
            let _ = writeln!(std::io::stdout(), "ready");
        }
        if hangup.swap(false, Relaxed) {
            read_aside(path, read.clone())?;
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
