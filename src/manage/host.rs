//! The Linux host under the router, as the management thread sees it: which devices it has, which of its kernel's routes are followed,
//! and how it hears that an interface has changed.
//!
//! The host's routes stand in the view after those of the profile: of two to the same network the profile's counts.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use serde_json::{Value, json};

use super::{Manager, views};
use crate::base::Nanos;
use crate::engine::host::HostReport;
use crate::path::{Iface, View};
use crate::table::routes::{Route, Routes};

/// Routes that an event names, at most.
const NAMED: usize = 16;

/// The host.
#[derive(Debug)]
pub(super) struct Hosting {
    reports: Receiver<HostReport>,
    views: Sender<Arc<View>>,
    /// The interfaces that it knows
    told: Vec<Iface>,
    /// What is followed of its routes
    routes: Vec<Route>,
}

impl Manager {
    /// There is a host under the router: what it reports is heard, and it is told of interfaces that change, from now on.
    pub fn hear_host(&mut self, reports: Receiver<HostReport>, views: Sender<Arc<View>>) {
        let told = self.view.ifaces.clone();
        self.host = Some(Hosting { reports, views, told, routes: Vec::new() });
    }

    /// Takes in what the host reports.
    pub(super) fn host_reports(&mut self, now: Nanos) {
        while let Some(report) = self.host.as_ref().and_then(|host| host.reports.try_recv().ok()) {
            match report {
                HostReport::Device { interface, device } => {
                    let fields = match device {
                        Ok(device) => json!({ "interface": interface, "device": device }),
                        Err(error) => json!({ "interface": interface, "error": error }),
                    };
                    self.event(now, "host", fields);
                }
                HostReport::Routes { routes, more } => self.follow(now, routes, more),
            }
        }
    }

    /// These are the host's routes now.
    fn follow(&mut self, now: Nanos, routes: Vec<Route>, more: usize) {
        let Some(host) = &mut self.host else { return };
        let before = std::mem::replace(&mut host.routes, routes.clone());
        if before == routes {
            return;
        }
        let view = self.view.clone();
        let named = |here: &[Route], there: &[Route]| -> Vec<Value> {
            let text = |route: &Route| {
                let via = route.via.map(|via| format!(" via {via}")).unwrap_or_default();
                json!(format!("{}{via} dev {}", route.net, view.ifaces[route.iface.index()].name))
            };
            here.iter().filter(|route| !there.contains(route)).take(NAMED).map(text).collect()
        };
        let fields = json!({
            "added": named(&routes, &before), "withdrawn": named(&before, &routes), "followed": routes.len(), "not_followed": more,
        });
        let mut view = View::clone(&view);
        self.add_routes(&mut view);
        self.view = Arc::new(view);
        self.publish();
        self.event(now, "route", fields);
    }

    /// Puts the routes of the profile and those of the host into a view.
    pub(super) fn add_routes(&self, view: &mut View) {
        let mut routes = views::routes(&self.profile, &view.ifaces);
        if let Some(host) = &self.host {
            // Its interface may have lost the network of the next hop, until the host has said so.
            let near = |route: &&Route| route.via.is_none_or(|via| view.on_link(route.iface, via));
            routes.extend(host.routes.iter().filter(near));
        }
        view.routes = Routes::new(routes);
    }

    /// Tells the host if an interface is another one than it knows. Its link is none of its business.
    pub(super) fn tell_host(&mut self) {
        let Some(host) = &mut self.host else { return };
        let same =
            |(a, b): (&Iface, &Iface)| a.addresses == b.addresses && (a.station, a.mtu) == (b.station, b.mtu);
        if !host.told.iter().zip(&self.view.ifaces).all(same)
            && host.views.try_send(self.view.clone()).is_ok()
        {
            host.told.clone_from(&self.view.ifaces);
        }
    }
}
