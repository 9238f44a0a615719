//! Real traffic through the router, and what became of it.
//!
//! Two LAN hosts talk to one internet host: the first sends a UDP packet a millisecond and listens to the echo, the second
//! downloads over TCP. All sockets are opened in the hosts' namespaces; the threads end when the traffic is dropped.
//! What the hosts saw is the measure of the demo: nothing here asks the router.
#![forbid(unsafe_code)]

pub mod account;
pub mod tcp;
pub mod udp;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::clock;
use super::lab::{INTERNET, Inside, Lab, LabError, Stop};
use crate::base::Nanos;

/// The traffic of the demo, running.
#[derive(Debug)]
pub struct Traffic {
    /// The UDP side.
    pub stream: Arc<udp::Stream>,
    /// The TCP side.
    pub downloads: Arc<tcp::Downloads>,
    began: Nanos,
    threads: Vec<Inside<io::Result<()>>>,
}

impl Traffic {
    /// Opens the sockets and starts to send.
    ///
    /// # Errors
    /// If a host of the lab is missing or refuses a thread or a socket.
    pub fn start(lab: &Lab) -> Result<Traffic, LabError> {
        let [server, ..] = INTERNET;
        let (inet, lan1, lan2) = (lab.host("inet")?, lab.host("lan1")?, lab.host("lan2")?);

        let mut traffic = Traffic {
            stream: Arc::default(),
            downloads: Arc::default(),
            began: clock::now(),
            threads: Vec::new(),
        };
        let echo = inet.run(move || udp::open_echo(server))??;
        let listener = inet.run(move || tcp::open(server))??;
        let home = lan1.run(move || udp::Home::open(server))??;
        let stream = traffic.stream.clone();
        traffic.threads.push(inet.spawn(move || {
            udp::echo(&echo, &stream);
            Ok(())
        })?);
        let downloads = traffic.downloads.clone();
        traffic.threads.push(inet.spawn(move || {
            tcp::serve(&listener, &downloads);
            Ok(())
        })?);
        for ear in home.ears()? {
            let stream = traffic.stream.clone();
            traffic.threads.push(lan1.spawn(move || {
                udp::listen(&ear, &stream);
                Ok(())
            })?);
        }
        let stream = traffic.stream.clone();
        traffic.threads.push(lan1.spawn(move || {
            home.send(&stream);
            Ok(())
        })?);
        let downloads = traffic.downloads.clone();
        traffic.threads.push(lan2.spawn(move || {
            tcp::download(server, &downloads);
            Ok(())
        })?);
        Ok(traffic)
    }

    /// Waits until packets come back; false if none has within `patience`.
    pub fn flows(&self, patience: Duration, stop: &Stop) -> bool {
        let deadline = clock::now() + Nanos::from_ms(u64::try_from(patience.as_millis()).unwrap_or(0));
        while self.stream.echoes() < 20 {
            if stop.asked() || clock::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// The mean rate of the downloads so far, in Mbit/s.
    pub fn download_mbit(&self) -> f64 {
        let us = clock::now().since(self.began).as_us().max(1);
        (self.downloads.bytes() * 8) as f64 / us as f64
    }

    /// Every source address that the internet host saw.
    pub fn sources(&self) -> BTreeMap<Ipv4Addr, u64> {
        let mut sources = self.stream.sources();
        sources.remove(&Ipv4Addr::UNSPECIFIED);
        for caller in self.downloads.callers() {
            sources.entry(caller).or_default();
        }
        sources
    }

    /// Stops sending, gives what is still on its way the time to arrive, and ends every thread.
    pub fn finish(&mut self) {
        self.stream.hush();
        thread::sleep(Duration::from_millis(300));
        self.halt();
    }

    fn halt(&mut self) {
        self.stream.end();
        self.downloads.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.halt();
    }
}
