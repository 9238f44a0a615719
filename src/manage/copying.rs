use crate::base::Nanos;
use crate::cluster::Key;
#[derive(Debug)]
pub(super) struct Copying;
impl Copying {
    pub(super) fn new(_: Key, _: u64, _: usize) -> Copying {
        Copying
    }
    pub(super) fn take(&mut self, _: Nanos) {}
    pub(super) fn release(&mut self, _: Nanos) {}
    pub(super) fn hear(&mut self, _: Nanos, _: &[u8]) {}
    pub(super) fn synced(&self) -> bool {
        true
    }
    pub(super) fn step(&mut self, _: Nanos, _: &mut [super::Lane], _: &mut dyn FnMut(Vec<u8>)) {}
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
