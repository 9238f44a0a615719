//! What can go wrong with DPDK, each in one line that says what to do about it.

use std::ffi::CStr;

use super::ffi;

/// An error of the packet library. Its text is one line, fit for a person.
#[derive(Debug, thiserror::Error)]
pub enum DpdkError {
    /// `Eal::start` was called a second time in this process (`rte_eal_init` works once).
    #[error("DPDK was started before in this process and starts only once: start a new process")]
    StartedTwice,
    /// The process may not run on this core.
    #[error(
        "core {core} is not there for this process (it may use {allowed}): name one of these, or widen the cpuset"
    )]
    Core {
        /// The core asked for.
        core: usize,
        /// The allowed cores, as ranges.
        allowed: String,
    },
    /// An EAL option that would print and exit, or that `EalConfig` sets itself.
    #[error("EAL option `{0}` cannot be given: remove it")]
    Option(String),
    /// `Hugepages::Required` without enough free ones.
    #[error(
        "{free_mb} MB of hugepages are free, {needed_mb} MB are needed: sysctl vm.nr_hugepages={pages} \
         (counting what is in use), or allow running without"
    )]
    Hugepages {
        /// Free memory in hugepages, MB.
        free_mb: usize,
        /// What was asked for, MB.
        needed_mb: usize,
        /// That in pages of 2 MB.
        pages: usize,
    },
    /// `rte_eal_init` failed.
    #[error("DPDK did not start: {text} (rte_errno {code}); TURNOUT_EAL_LOG=1 shows its log")]
    Start {
        /// `rte_strerror`.
        text: String,
        /// `rte_errno`.
        code: i32,
    },
    /// A missing capability.
    #[error("{what} needs {capability}: run as root, or grant it (setcap, AmbientCapabilities=)")]
    Permission {
        /// What was to be done.
        what: String,
        /// The capability's name.
        capability: &'static str,
    },
    /// `rte_thread_register` failed.
    #[error("the thread for core {core} cannot join DPDK: {text}")]
    Worker {
        /// The core.
        core: usize,
        /// Why.
        text: String,
    },
    /// `rte_pktmbuf_pool_create` failed.
    #[error(
        "no memory for {count} packet buffers ({needed_mb} MB) in pool {name}: {text}; give it more memory or fewer"
    )]
    Pool {
        /// The pool's name.
        name: String,
        /// Buffers asked for.
        count: u32,
        /// What they take, MB.
        needed_mb: usize,
        /// `rte_strerror`.
        text: String,
    },
    /// A pool of that name exists.
    #[error("a pool of packet buffers named {0} exists: use another name")]
    PoolTwice(String),
    /// A port relies on there being one pool.
    #[error(
        "no second pool of packet buffers ({0}) while a port frees without a look at each: open it before"
    )]
    OnePool(String),
    /// The port does not exist.
    #[error("port {port} is not there: {hint}")]
    NoPort {
        /// As in the profile.
        port: String,
        /// What to do.
        hint: String,
    },
    /// The port is open already in this process.
    #[error("port {0} is open already: name each port once")]
    PortTwice(String),
    /// The port has fewer queues than asked for.
    #[error("port {port} has {max} queues, {asked} workers need one each: use at most {max} workers")]
    Queues {
        /// As in the profile.
        port: String,
        /// What the port has.
        max: u16,
        /// What was asked for.
        asked: u16,
    },
    /// A Linux port's rings are more than the process may lock in memory.
    #[error(
        "port {port} locks {needed_kb} kB of memory for a queue, and this process may lock {limit_kb} kB: raise the \
         limit (ulimit -l, LimitMEMLOCK=)"
    )]
    Locked {
        /// As in the profile.
        port: String,
        /// What the smallest rings of one queue take.
        needed_kb: usize,
        /// What may be locked.
        limit_kb: u64,
    },
    /// A call on a port failed.
    #[error("port {port}: {what} failed: {text}")]
    Port {
        /// As in the profile.
        port: String,
        /// The DPDK function.
        what: &'static str,
        /// The error's text.
        text: String,
    },
    /// `take_queues` before `start`, or twice; `stop` while queues are out.
    #[error("port {port}: {what}")]
    State {
        /// As in the profile.
        port: String,
        /// What is in the way.
        what: &'static str,
    },
    /// About a Linux interface.
    #[error(transparent)]
    Linux(#[from] super::linux_error::LinuxError),
    /// A name with a NUL byte in it.
    #[error("`{0}` has a NUL byte in it: write it without")]
    Nul(String),
}

/// `rte_strerror`: the text of an errno, DPDK's own ones included.
pub(super) fn text(errno: i32) -> String {
    // SAFETY: rte_strerror takes any number and returns a NUL-terminated string, static or in this thread's own
    // buffer, which stays as it is until this thread's next call; it is copied before that.
    unsafe { CStr::from_ptr(ffi::rte_strerror(errno.abs())) }.to_string_lossy().into_owned()
}

/// This thread's `rte_errno`.
pub(super) fn errno() -> i32 {
    // SAFETY: reads a thread-local integer of libdpdk, which exists from the thread's start.
    unsafe { ffi::turnout_errno() }
}
