//! From a port's source to DPDK's number of it: looked up, or made as a virtual device.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use super::af_packet::{self, Rings};
use super::command::require_capabilities;
use super::eal::Device;
use super::error::{DpdkError, errno, text as error_text};
use super::ffi;
use super::linux::interface;
use super::port_types::PortSource;
use crate::base::PortId;

/// A port of DPDK's, not yet set up.
pub(super) struct Found {
    pub(super) device: Device,
    pub(super) port: u16,
    /// The virtual device to take away at the end.
    pub(super) vdev: Option<CString>,
    pub(super) mtu_limit: u16,
    /// Received frames of this length or more are dropped.
    pub(super) cut: usize,
}

impl Found {
    fn ethdev(port: u16, vdev: Option<CString>) -> Found {
        Found { device: Device::Ethdev(port), port, vdev, mtu_limit: u16::MAX, cut: usize::MAX }
    }
}

/// `open` has the ports that are open: those are refused.
pub(super) fn find(
    source: &PortSource,
    id: PortId,
    queues: u16,
    open: &HashSet<Device>,
) -> Result<Found, DpdkError> {
    let port = source.to_string();
    let c = |text: &str| CString::new(text).map_err(|_| DpdkError::Nul(text.into()));
    match source {
        PortSource::Pci(address) => {
            let number = by_name(&c(address)?).ok_or_else(|| {
                let hint = format!(
                    "DPDK found no device at {address}: see `dpdk-devbind.py --status-dev net`, then \
                     `dpdk-devbind.py --bind=vfio-pci {address}`"
                );
                DpdkError::NoPort { port: port.clone(), hint }
            })?;
            if open.contains(&Device::Ethdev(number)) {
                return Err(DpdkError::PortTwice(port));
            }
            Ok(Found::ethdev(number, None))
        }
        PortSource::Vdev(text) => {
            let (name, args) = text.split_once(',').unwrap_or((text, ""));
            let name = c(name)?;
            Ok(Found::ethdev(make(&port, &name, &c(args)?)?, Some(name)))
        }
        PortSource::Linux(ifname) => {
            require_capabilities(ifname)?;
            let interface = interface(ifname)?;
            let device = Device::Linux(interface.ifindex);
            if open.contains(&device) {
                return Err(DpdkError::PortTwice(port));
            }
            if queues == 0 || queues > af_packet::QUEUES {
                return Err(DpdkError::Queues { port, max: af_packet::QUEUES, asked: queues });
            }
            let rings = Rings::choose(ifname, queues);
            let name = af_packet::name(id.0)?;
            let number = make(&port, &name, &c(&rings.args)?).map_err(|e| rings.explain(&port, e))?;
            let mtu_limit = u16::try_from(interface.mtu).unwrap_or(u16::MAX).min(af_packet::MTU);
            Ok(Found { device, port: number, vdev: Some(name), mtu_limit, cut: af_packet::CUT })
        }
    }
}

/// Makes a virtual device.
fn make(port: &str, name: &CStr, args: &CStr) -> Result<u16, DpdkError> {
    let missing = |hint: String| DpdkError::NoPort { port: port.into(), hint };
    if by_name(name).is_some() {
        return Err(DpdkError::PortTwice(port.into()));
    }
    // SAFETY: NUL-terminated strings, copied by DPDK; the EAL runs, as the caller holds it.
    let result = unsafe { ffi::rte_eal_hotplug_add(c"vdev".as_ptr(), name.as_ptr(), args.as_ptr()) };
    if result < 0 {
        let why = error_text(if result == -1 { errno() } else { result });
        return Err(missing(format!("DPDK could not make it ({why}); TURNOUT_EAL_LOG=1 shows why")));
    }
    by_name(name).ok_or_else(|| missing("the device is there but is no Ethernet port".into()))
}

fn by_name(name: &CStr) -> Option<u16> {
    let mut port = 0u16;
    // SAFETY: a NUL-terminated string and a writable number.
    (unsafe { ffi::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut port) } == 0).then_some(port)
}
