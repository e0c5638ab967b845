//! Which steps of a plan may begin, and when: decided without clock, task or network.
//!
//! [`Schedule`] takes in what happened to a step and gives out the steps to start. Whoever drives it (`aws::apply`) starts
//! them all at once and reports each end; what it does in between is not the schedule's business.

use super::{Direction, Plan};

/// What a step that still runs has reached so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The resource exists, although it is not finished. In an `up` plan its dependants may begin.
    Made,
    /// AWS accepted the deletion, and the proof is still to come. In a `down` plan its dependants may begin; in an `up` plan
    /// they wait for the proof, because what they make replaces what is deleted.
    DeletionAccepted,
}

/// How the steps that a step needs stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// All of them are done.
    Met,
    /// Some are not done yet.
    Pending,
    /// Some will not be done any more.
    Lost,
}

/// Where one step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Waiting,
    Running,
    Done,
    Failed,
    /// It began, waited for a need that failed, and changed nothing more.
    Blocked,
}

#[derive(Clone, Debug)]
struct Slot {
    /// What must be done, or ahead, before it may begin.
    begins_after: Vec<usize>,
    /// What must be done before it can end.
    needs: Vec<usize>,
    status: Status,
    /// Its dependants may begin although it is not done. That stays so if it fails: AWS may have accepted a deletion of which
    /// the proof failed.
    is_ahead: bool,
}

/// The state of a plan that is carried out. Steps are named by their index in [`Plan::steps`].
#[derive(Clone, Debug)]
pub struct Schedule {
    direction: Direction,
    slots: Vec<Slot>,
    is_stopped: bool,
}

impl Schedule {
    /// Returns the schedule of a plan of which nothing has begun.
    pub fn new(plan: &Plan) -> Schedule {
        let steps = 0..plan.steps.len();
        Schedule::of(plan.direction, steps.map(|index| (plan.begins_after(index), plan.needs(index))))
    }

    /// Returns a schedule of steps, each with what it begins after and what it needs.
    fn of(direction: Direction, steps: impl Iterator<Item = (Vec<usize>, Vec<usize>)>) -> Schedule {
        let slot =
            |(begins_after, needs)| Slot { begins_after, needs, status: Status::Waiting, is_ahead: false };
        Schedule { direction, slots: steps.map(slot).collect(), is_stopped: false }
    }

    /// Returns the steps to start now. From then on they count as running, and each must be reported once: as
    /// [done](Schedule::done), [failed](Schedule::failed) or [blocked](Schedule::blocked).
    pub fn start(&mut self) -> Vec<usize> {
        if self.is_over() {
            return Vec::new();
        }
        let ready: Vec<usize> = (0..self.slots.len()).filter(|index| self.is_ready(*index)).collect();
        for index in &ready {
            self.slots[*index].status = Status::Running;
        }
        ready
    }

    /// Takes in that a running step has reached a milestone; tells whether its dependants may begin because of that.
    pub fn reached(&mut self, index: usize, milestone: Milestone) -> bool {
        let counts = match self.direction {
            Direction::Up => milestone == Milestone::Made,
            Direction::Down => milestone == Milestone::DeletionAccepted,
        };
        self.slots[index].is_ahead |= counts;
        counts
    }

    /// Takes in that a running step succeeded.
    pub fn done(&mut self, index: usize) {
        self.slots[index].status = Status::Done;
    }

    /// Takes in that a running step failed.
    ///
    /// In an `up` plan no further step begins. In a `down` plan only the dependants do not, unless the step had reached its
    /// milestone: as little as possible is left.
    pub fn failed(&mut self, index: usize) {
        self.slots[index].status = Status::Failed;
    }

    /// Takes in that a running step gave up because what it [needs](Schedule::needs) is lost. It counts as not started.
    pub fn blocked(&mut self, index: usize) {
        self.slots[index].status = Status::Blocked;
    }

    /// Takes in that the user asked to stop: no further step begins.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Tells whether no further step begins, whatever the running ones bring.
    pub fn is_over(&self) -> bool {
        self.is_stopped || (self.direction == Direction::Up && self.has_failed())
    }

    /// Tells whether a step has failed.
    pub fn has_failed(&self) -> bool {
        self.slots.iter().any(|slot| slot.status == Status::Failed)
    }

    /// Returns how the steps stand that a step needs before it can end.
    ///
    /// Once the schedule is over, a step does not wait for those that still run: it gives up at once, and the next plan
    /// finishes it.
    pub fn needs(&self, index: usize) -> Needs {
        let status = |need: &usize| self.slots[*need].status;
        let needs = &self.slots[index].needs;
        if needs.iter().all(|need| status(need) == Status::Done) {
            Needs::Met
        } else if self.is_over()
            || needs.iter().any(|need| matches!(status(need), Status::Failed | Status::Blocked))
        {
            Needs::Lost
        } else {
            Needs::Pending
        }
    }

    /// Returns the steps that are done.
    pub fn all_done(&self) -> Vec<usize> {
        self.with(|status| status == Status::Done)
    }

    /// Returns the steps that were not started, or gave up because of what they need.
    pub fn not_started(&self) -> Vec<usize> {
        self.with(|status| matches!(status, Status::Waiting | Status::Blocked))
    }

    fn with(&self, wanted: impl Fn(Status) -> bool) -> Vec<usize> {
        (0..self.slots.len()).filter(|index| wanted(self.slots[*index].status)).collect()
    }

    fn is_ready(&self, index: usize) -> bool {
        let slot = &self.slots[index];
        let is_there = |need: &usize| {
            let need = &self.slots[*need];
            need.status == Status::Done || need.is_ahead
        };
        slot.status == Status::Waiting && slot.begins_after.iter().all(is_there)
    }
}

#[cfg(test)]
mod tests;
