//! Names that other sections use: which interface or WAN they mean.
//!
//! A name that nobody has is a mistake with the nearest one as a hint; but while `interfaces` or `wans` themselves are
//! wrong, nobody can tell, and nothing is said.

use std::collections::HashMap;

use super::mistake::{Report, closest, show};
use super::raw::At;
use super::types::{MAX_INTERFACES, MAX_WANS};

pub(super) struct Names<'a> {
    interfaces: Group<'a>,
    wans: Group<'a>,
}

struct Group<'a> {
    index: HashMap<&'a str, usize>,
    /// In the order of the file, for hints.
    list: Vec<&'a str>,
    known: bool,
}

impl<'a> Group<'a> {
    fn new(names: impl Iterator<Item = &'a str>, most: usize, known: bool) -> Group<'a> {
        let list: Vec<&str> = names.collect();
        let index = list.iter().enumerate().map(|(i, name)| (*name, i)).collect();
        Group { index, list: list.into_iter().take(most).collect(), known }
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
    ) -> Names<'a> {
        Names {
            interfaces: Group::new(interfaces.0, MAX_INTERFACES, interfaces.1),
            wans: Group::new(wans.0, MAX_WANS, wans.1),
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
