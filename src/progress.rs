//! What a long call says while it works: a NOTICE each `credit_pools.progress_interval`. Nothing where it is over sooner.

use std::time::Instant;

use pgrx::notice;

use crate::settings;

pub struct Progress {
    what: &'static str,
    began: Instant,
    told: Instant,
}

impl Progress {
    pub fn of(what: &'static str) -> Progress {
        let now = Instant::now();
        Progress { what, began: now, told: now }
    }

    /// Between two pieces of the work; `state` says how far it has got.
    pub fn tick(&mut self, state: impl FnOnce() -> String) {
        pgrx::check_for_interrupts!();
        let Some(interval) = settings::progress_interval() else { return };
        if self.told.elapsed() >= interval {
            self.told = Instant::now();
            notice!("{}: {} after {} s", self.what, state(), self.began.elapsed().as_secs());
        }
    }
}
