//! Names that other sections use: which interface, WAN or group they mean.
//!
//! A name that nobody has is a mistake with the nearest one as a hint; but while `interfaces`, `wans` or `groups`
//! themselves are wrong, nobody can tell, and nothing is said.

use std::collections::HashMap;

use super::group_types::{MAX_GROUPS, Use};
use super::mistake::{Report, closest, show};
use super::raw::At;
use super::types::{MAX_INTERFACES, MAX_WANS};

pub(super) struct Names<'a> {
    interfaces: Known<'a>,
    wans: Known<'a>,
    groups: Known<'a>,
}

struct Known<'a> {
    index: HashMap<&'a str, usize>,
    /// In the order of the file, for hints.
    list: Vec<&'a str>,
    known: bool,
}

impl<'a> Known<'a> {
    fn new(names: impl Iterator<Item = &'a str>, most: usize, known: bool) -> Known<'a> {
        let list: Vec<&str> = names.collect();
        let index = list.iter().enumerate().map(|(i, name)| (*name, i)).collect();
        Known { index, list: list.into_iter().take(most).collect(), known }
    }

    fn find(&self, name: &At<String>, message: &str, report: &mut Report) -> Option<usize> {
        let found = self.index.get(name.value.as_str()).copied();
        if found.is_none() && self.known && !report.is_full() {
            let near = closest(&name.value, self.list.iter().copied());
            let hint = did_you_mean(near, self.list.iter().copied());
            report.add(name.at, format!("{message} {}", show(&name.value)), hint);
        }
        found
    }
}

impl<'a> Names<'a> {
    /// The names in the order of their indices, and whether they are all of them.
    pub(super) fn new(
        interfaces: (impl Iterator<Item = &'a str>, bool),
        wans: (impl Iterator<Item = &'a str>, bool),
        groups: (impl Iterator<Item = &'a str>, bool),
    ) -> Names<'a> {
        Names {
            interfaces: Known::new(interfaces.0, MAX_INTERFACES, interfaces.1),
            wans: Known::new(wans.0, MAX_WANS, wans.1),
            groups: Known::new(groups.0, MAX_GROUPS, groups.1),
        }
    }

    /// The index of the interface.
    pub(super) fn interface(&self, name: &At<String>, report: &mut Report) -> Option<usize> {
        self.interfaces.find(name, "no interface is called", report)
    }

    /// The index of the WAN.
    pub(super) fn wan(&self, name: &At<String>, report: &mut Report) -> Option<usize> {
        let message = match self.interfaces.index.contains_key(name.value.as_str()) {
            true => "no WAN is the interface",
            false => "no WAN is called",
        };
        self.wans.find(name, message, report)
    }

    /// The group or the WAN; no name is both's.
    pub(super) fn uses(&self, name: &At<String>, report: &mut Report) -> Option<Use> {
        let word = name.value.as_str();
        let group = self.groups.index.get(word).map(|index| Use::Group(*index));
        let found = group.or_else(|| self.wans.index.get(word).map(|index| Use::Wan(*index)));
        if found.is_none() && self.groups.known && self.wans.known && !report.is_full() {
            let both = || self.groups.list.iter().chain(&self.wans.list).copied();
            let hint = did_you_mean(closest(word, both()), both());
            report.add(name.at, format!("no group and no WAN is called {}", show(word)), hint);
        }
        found
    }
}

pub(super) fn did_you_mean<'a>(near: Option<&str>, names: impl Iterator<Item = &'a str>) -> String {
    if let Some(near) = near {
        return format!("did you mean `{near}`?");
    }
    let names: Vec<String> = names.take(8).map(show).collect();
    if names.is_empty() {
        "there is none yet; add it".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    }
}
