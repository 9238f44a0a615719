//! A TAP: an Ethernet device of the Linux kernel's whose wire is this process. It is there as long as somebody holds it,
//! however that ends. No DPDK in it.
//!
//! Frames are whole and have their checksums: nothing is offloaded. Reads and writes never block. The device is set up by
//! `ip`; what the kernel would do by itself on a new one (IPv6, a strict check of the way back) is switched off first.

use std::ffi::c_char;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::libc;

use super::command::run;
use super::linux_error::LinuxError;
use crate::base::{Ipv4Net, Mac};

const DEVICE: &str = "/dev/net/tun";
/// The next hop of the host's way out: the dummy address (RFC 7600 4.8), which no network has.
const BEYOND: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);
/// Whoever gave the host a default route has set a lower one.
const METRIC: u32 = 4096;

/// A TAP of this network namespace.
#[derive(Debug)]
pub struct Tap {
    file: File,
    name: String,
    ifindex: u32,
    addresses: Vec<Ipv4Net>,
}

/// How a TAP is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapConfig {
    /// Its address
    pub mac: Mac,
    /// Longest IP packet
    pub mtu: u16,
    /// The kernel's addresses there
    pub addresses: Vec<Ipv4Net>,
    /// Whether the kernel asks for its neighbours there; if not, all goes to the TAP's own address
    pub arp: bool,
}

impl Tap {
    /// Makes a TAP that is down.
    ///
    /// # Errors
    /// `AddrInUse`: there is a device of that name. Else there are no TAPs here, or this process may not make one.
    pub fn open(name: &str) -> io::Result<Tap> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(['/', '%', ' ', ':']) {
            return Err(invalid("no name that a device can have (15 characters at most)"));
        }
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(DEVICE)?;
        let mut ifr_name = [0 as c_char; libc::IFNAMSIZ];
        for (to, from) in ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as c_char;
        }
        let flags = (libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL) as libc::c_short;
        let mut request =
            libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
        // SAFETY: the descriptor is open, TUNSETIFF reads and writes one ifreq, which lives until the call returns; the
        // name in it ends with a zero, as it is shorter than its field.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if done < 0 {
            let e = io::Error::last_os_error();
            // With IFF_TUN_EXCL any device of the name, whatever its kind.
            let taken = e.raw_os_error() == Some(libc::EBUSY);
            return Err(if taken { io::ErrorKind::AddrInUse.into() } else { e });
        }
        let ifindex = nix::net::if_::if_nametoindex(name)?;
        Ok(Tap { file, name: name.to_owned(), ifindex, addresses: Vec::new() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number of it.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Sets it up, or anew; addresses that others have given it stay. Takes some milliseconds.
    ///
    /// # Errors
    /// What `ip` refuses.
    pub fn configure(&mut self, config: &TapConfig) -> Result<(), LinuxError> {
        let name = self.name.as_str();
        // Where /proc may not be written the path drops what is not wanted.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
        let _ = fs::write(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"), "2");
        let mut lines = String::new();
        let arp = if config.arp { "on" } else { "off" };
        let _ = writeln!(lines, "link set dev {name} address {} mtu {} arp {arp}", config.mac, config.mtu);
        for gone in self.addresses.iter().filter(|address| !config.addresses.contains(address)) {
            let _ = writeln!(lines, "address del {gone} dev {name}");
        }
        for new in config.addresses.iter().filter(|address| !self.addresses.contains(address)) {
            let broadcast = if new.broadcast().is_some() { " broadcast +" } else { "" };
            let _ = writeln!(lines, "address replace {new}{broadcast} dev {name}");
        }
        let _ = writeln!(lines, "link set dev {name} up");
        run("ip", &["-batch", "-"], &lines)?;
        self.addresses.clone_from(&config.addresses);
        Ok(())
    }

    /// Gives the host a way to everywhere, by this device's own address and from `src`. It counts where no other does.
    ///
    /// # Errors
    /// What `ip` refuses: there is one like it.
    pub fn lead_out(&self, mac: Mac, src: Ipv4Addr) -> Result<(), LinuxError> {
        let name = self.name.as_str();
        self.show_beyond(mac)?;
        let lines = format!("route add default via {BEYOND} dev {name} onlink src {src} metric {METRIC}\n");
        run("ip", &["-batch", "-"], &lines).map(drop)
    }

    /// Says again where that way leads: the kernel forgets it whenever the device is given its MAC, be it the same.
    ///
    /// # Errors
    /// What `ip` refuses.
    pub fn show_beyond(&self, mac: Mac) -> Result<(), LinuxError> {
        let line = format!("neighbor replace {BEYOND} lladdr {mac} nud permanent dev {}\n", self.name);
        run("ip", &["-batch", "-"], &line).map(drop)
    }

    /// A frame that the kernel sends there. `WouldBlock`: none.
    pub fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(into)
    }

    /// Gives the kernel a frame.
    pub fn write(&self, frame: &[u8]) -> io::Result<usize> {
        (&self.file).write(frame)
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
