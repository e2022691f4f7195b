//! Which core asks and which one answers.
//!
//! In: the cores this process may use. Out: threads pinned to them. Never: leaves it to the scheduler, which puts
//! two threads that wake each other now on one core and now on two: a round trip of 4 us or of 45 us.

use core_affinity::CoreId;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The asking side on the first core, the answering side on the last; they are one on a machine of one core.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    asking: CoreId,
    answering: CoreId,
}

impl Cores {
    /// Nothing if the system does not say which cores there are.
    pub fn choose() -> Option<Cores> {
        let all = core_affinity::get_core_ids()?;
        Some(Cores { asking: *all.first()?, answering: *all.last()? })
    }

    /// Pins the calling thread, and what it starts from now on, to the asking core.
    pub fn pin_asking(&self) {
        core_affinity::set_for_current(self.asking);
    }

    /// Pins the calling thread to the answering core.
    pub fn pin_answering(&self) {
        core_affinity::set_for_current(self.answering);
    }

    /// Lets the calling thread, and what it starts from now on, run on both.
    pub fn unpin(&self) {
        let mut both = CpuSet::new();
        both.set(self.asking.id);
        both.set(self.answering.id);
        // It had both when they were chosen; a thread that stays where it is measures more slowly, and no more.
        let _ = sched_setaffinity(None, &both);
    }

    /// The answering core as `ringmain serve --cores` takes it.
    pub fn answering_list(&self) -> String {
        format!("{0}-{0}", self.answering.id)
    }

    /// Both cores as `ringmain serve --cores` takes them.
    pub fn both_list(&self) -> String {
        format!("{0}-{0},{1}-{1}", self.asking.id, self.answering.id)
    }

    /// The number of the answering core.
    pub fn answering(&self) -> usize {
        self.answering.id
    }

    /// For people.
    pub fn line(&self) -> String {
        format!("this program on {}, who answers on {}", self.asking.id, self.answering.id)
    }
}
