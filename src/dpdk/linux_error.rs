//! Why a Linux interface cannot be taken or given back, each in one line that says what to do about it.

/// Why an interface cannot be claimed or given back. One line each.
#[derive(Debug, thiserror::Error)]
pub enum LinuxError {
    /// There is none of that name here.
    #[error("interface {ifname} is not there (this network namespace has: {existing})")]
    NoInterface {
        /// The name.
        ifname: String,
        /// The names that exist.
        existing: String,
    },
    /// `lo`, or not Ethernet.
    #[error("interface {ifname} is no Ethernet interface ({kind}): name another")]
    NotEthernet {
        /// The name.
        ifname: String,
        /// What it is.
        kind: String,
    },
    /// It belongs to a bridge or bond.
    #[error("interface {ifname} is part of {master}: ip link set {ifname} nomaster")]
    Member {
        /// The name.
        ifname: String,
        /// The bridge or bond.
        master: String,
    },
    /// The kernel has an address on it.
    #[error(
        "interface {ifname} has the address {address}, which would be the router's: ip addr flush dev {ifname}"
    )]
    Addressed {
        /// The name.
        ifname: String,
        /// The first address that is in the way.
        address: String,
    },
    /// It has a root qdisc that somebody set up.
    #[error(
        "interface {ifname} has a queueing discipline of its own ({kind}): tc qdisc del dev {ifname} root"
    )]
    Shaped {
        /// The name.
        ifname: String,
        /// The discipline.
        kind: String,
    },
    /// Another router has it.
    #[error("another router (pid {pid}) holds {ifname}: stop it, or name another interface")]
    Held {
        /// The name.
        ifname: String,
        /// The holder's process id.
        pid: u32,
    },
    /// A tool is not installed.
    #[error("the command `{tool}` is missing: apt install {package}")]
    Missing {
        /// The command.
        tool: &'static str,
        /// Its Debian package.
        package: &'static str,
    },
    /// Not root, and not granted either.
    #[error(
        "using interface {ifname} needs {capability}: run as root, or grant it (setcap, AmbientCapabilities=)"
    )]
    Permission {
        /// The interface.
        ifname: String,
        /// The capability.
        capability: &'static str,
    },
    /// A tool failed.
    #[error("`{command}` failed: {text}")]
    Command {
        /// The command line.
        command: String,
        /// What it said.
        text: String,
    },
    /// The state file cannot be kept.
    #[error("cannot keep {path}: {text}: make it writable")]
    State {
        /// The file or folder.
        path: String,
        /// Why.
        text: String,
    },
}
