//! Plans of a few steps, and random ones beside a second account of what may begin.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

const NOTHING: [usize; 0] = [];

/// The steps of a plan: what each begins after, and what it needs before it can end.
type Steps = Vec<(Vec<usize>, Vec<usize>)>;

/// Steps that each begin after what they need.
fn steps<const N: usize>(needs: [&[usize]; N]) -> Steps {
    needs.into_iter().map(|needs| (needs.to_vec(), needs.to_vec())).collect()
}

fn schedule(direction: Direction, steps: &Steps) -> Schedule {
    Schedule::of(direction, steps.iter().cloned())
}

#[test]
fn steps_without_needs_start_together_and_the_others_once_theirs_are_done() {
    let mut schedule = schedule(Direction::Up, &steps([&[], &[], &[0, 1]]));
    assert_eq!(schedule.start(), [0, 1]);
    schedule.done(0);
    assert_eq!(schedule.start(), NOTHING);
    schedule.done(1);
    assert_eq!(schedule.start(), [2]);
    schedule.done(2);
    assert_eq!((schedule.all_done(), schedule.not_started()), (vec![0, 1, 2], vec![]));
}

#[test]
fn after_a_failure_nothing_more_begins_in_an_up_plan() {
    let mut schedule = schedule(Direction::Up, &steps([&[], &[], &[1]]));
    assert_eq!(schedule.start(), [0, 1]);
    schedule.failed(0);
    schedule.done(1);
    assert!(schedule.is_over());
    assert_eq!(schedule.start(), NOTHING);
    assert_eq!((schedule.all_done(), schedule.not_started()), (vec![1], vec![2]));
}

#[test]
fn after_a_failure_only_its_dependants_wait_in_a_down_plan() {
    let mut schedule = schedule(Direction::Down, &steps([&[], &[], &[0], &[1]]));
    assert_eq!(schedule.start(), [0, 1]);
    schedule.failed(0);
    schedule.done(1);
    assert_eq!(schedule.start(), [3]);
    schedule.done(3);
    assert_eq!((schedule.all_done(), schedule.not_started()), (vec![1, 3], vec![2]));
    assert_eq!(schedule.needs(2), Needs::Lost);
}

#[test]
fn a_milestone_lets_dependants_begin_only_in_the_direction_that_it_belongs_to() {
    for (direction, milestone, counts) in [
        (Direction::Up, Milestone::Made, true),
        (Direction::Up, Milestone::DeletionAccepted, false),
        (Direction::Down, Milestone::DeletionAccepted, true),
        (Direction::Down, Milestone::Made, false),
    ] {
        let mut schedule = schedule(direction, &steps([&[], &[0]]));
        assert_eq!(schedule.start(), [0]);
        assert_eq!(schedule.reached(0, milestone), counts);
        assert_eq!(schedule.start().len(), usize::from(counts), "{direction:?} {milestone:?}");
    }
}

#[test]
fn a_deletion_that_was_accepted_lets_its_dependants_begin_though_its_proof_failed() {
    let mut schedule = schedule(Direction::Down, &steps([&[], &[], &[0, 1]]));
    assert_eq!(schedule.start(), [0, 1]);
    schedule.reached(0, Milestone::DeletionAccepted);
    schedule.failed(0);
    assert_eq!(schedule.start(), NOTHING);
    schedule.done(1);
    assert_eq!(schedule.start(), [2]);
}

#[test]
fn a_step_that_began_early_waits_for_its_needs_and_learns_that_they_are_lost() {
    let mut schedule = schedule(Direction::Up, &vec![(vec![], vec![]), (vec![], vec![0])]);
    assert_eq!(schedule.start(), [0, 1]);
    assert_eq!(schedule.needs(1), Needs::Pending);
    let mut other = schedule.clone();
    other.done(0);
    assert_eq!(other.needs(1), Needs::Met);
    schedule.failed(0);
    assert_eq!(schedule.needs(1), Needs::Lost);
    schedule.blocked(1);
    assert_eq!(schedule.start(), NOTHING, "it would begin again, and again");
    assert_eq!(schedule.not_started(), [1]);
}

#[test]
fn after_a_stop_nothing_begins_and_nothing_is_waited_for() {
    for direction in [Direction::Up, Direction::Down] {
        let mut schedule = schedule(direction, &steps([&[], &[0], &[]]));
        assert_eq!(schedule.start(), [0, 2]);
        schedule.stop();
        schedule.done(0);
        assert_eq!(schedule.start(), NOTHING);
        assert_eq!(schedule.needs(1), Needs::Met);
        schedule.done(2);
        assert_eq!((schedule.all_done(), schedule.not_started()), (vec![0, 2], vec![1]));
    }
}

/// Up to twelve steps. Each needs some of those before it, and begins after some of what it needs.
fn any_steps() -> impl Strategy<Value = Steps> {
    (1_usize..=12).prop_flat_map(|count| {
        let step = |index: usize| {
            let choice = prop::collection::vec((any::<bool>(), any::<bool>()), index);
            choice.prop_map(|choice| {
                let needs: Vec<usize> = (0..choice.len()).filter(|need| choice[*need].0).collect();
                let begins_after = needs.iter().copied().filter(|need| choice[*need].1).collect();
                (begins_after, needs)
            })
        };
        (0..count).map(step).collect::<Vec<_>>()
    })
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Up), Just(Direction::Down)]
}

/// What the world does next.
#[derive(Clone, Debug)]
enum Turn {
    Done(Index),
    Failed(Index),
    Reached(Index, Milestone),
    Stop,
}

fn any_turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        8 => any::<Index>().prop_map(Turn::Done),
        1 => any::<Index>().prop_map(Turn::Failed),
        3 => any::<Index>().prop_map(|at| Turn::Reached(at, Milestone::Made)),
        3 => any::<Index>().prop_map(|at| Turn::Reached(at, Milestone::DeletionAccepted)),
        1 => Just(Turn::Stop),
    ]
}

/// Everything that can be known of a plan that is carried out, kept beside the schedule.
struct World {
    steps: Steps,
    direction: Direction,
    running: BTreeSet<usize>,
    ahead: BTreeSet<usize>,
    done: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    blocked: BTreeSet<usize>,
    is_stopped: bool,
}

impl World {
    fn new(direction: Direction, steps: &Steps) -> World {
        World {
            steps: steps.clone(),
            direction,
            running: BTreeSet::new(),
            ahead: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            is_stopped: false,
        }
    }

    fn has_begun(&self, index: usize) -> bool {
        [&self.running, &self.done, &self.failed, &self.blocked].iter().any(|set| set.contains(&index))
    }

    fn may_begin(&self, index: usize) -> bool {
        let is_over = self.is_stopped || (self.direction == Direction::Up && !self.failed.is_empty());
        let is_there = |need: &usize| self.done.contains(need) || self.ahead.contains(need);
        !is_over && !self.has_begun(index) && self.steps[index].0.iter().all(is_there)
    }

    /// Starts what the schedule says, and holds it against what may begin.
    fn start(&mut self, schedule: &mut Schedule) {
        let expected: Vec<usize> = (0..self.steps.len()).filter(|index| self.may_begin(*index)).collect();
        assert_eq!(schedule.start(), expected, "neither earlier nor later, and each once");
        self.running.extend(expected);
        assert_eq!(schedule.start(), NOTHING, "once");
    }

    /// One of the running steps that may do this now. A step ends well only once all it needs is done.
    fn choose(&self, at: &Index, ends_well: bool) -> Option<usize> {
        let can =
            |index: &&usize| !ends_well || self.steps[**index].1.iter().all(|need| self.done.contains(need));
        let choice: Vec<usize> = self.running.iter().filter(can).copied().collect();
        (!choice.is_empty()).then(|| choice[at.index(choice.len())])
    }

    fn turn(&mut self, schedule: &mut Schedule, turn: &Turn) {
        match turn {
            Turn::Done(at) => {
                let Some(index) = self.choose(at, true) else { return };
                assert_eq!(schedule.needs(index), Needs::Met);
                schedule.done(index);
                self.running.remove(&index);
                self.done.insert(index);
            }
            Turn::Failed(at) => {
                let Some(index) = self.choose(at, false) else { return };
                schedule.failed(index);
                self.running.remove(&index);
                self.failed.insert(index);
            }
            Turn::Reached(at, milestone) => {
                let Some(index) = self.choose(at, false) else { return };
                let counts = schedule.reached(index, *milestone);
                assert_eq!(counts, (self.direction == Direction::Up) == (*milestone == Milestone::Made));
                if counts {
                    self.ahead.insert(index);
                }
            }
            Turn::Stop => {
                schedule.stop();
                self.is_stopped = true;
            }
        }
        // Steps whose needs are lost give up.
        let lost = |index: &usize| schedule.needs(*index) == Needs::Lost;
        let given_up: Vec<usize> = self.running.iter().copied().filter(lost).collect();
        for index in given_up {
            assert!(!self.steps[index].1.iter().all(|need| self.done.contains(need)));
            schedule.blocked(index);
            self.running.remove(&index);
            self.blocked.insert(index);
        }
    }
}

proptest! {
    #[test]
    fn without_a_failure_every_step_is_done_once_and_never_before_its_needs(
        direction in any_direction(),
        steps in any_steps(),
        order in prop::collection::vec(any::<Index>(), 12),
    ) {
        let mut schedule = schedule(direction, &steps);
        let mut world = World::new(direction, &steps);
        world.start(&mut schedule);
        for at in order.iter().take(steps.len()) {
            world.turn(&mut schedule, &Turn::Done(*at));
            world.start(&mut schedule);
        }
        prop_assert_eq!(schedule.all_done(), (0..steps.len()).collect::<Vec<_>>());
        prop_assert!(world.running.is_empty() && schedule.not_started().is_empty());
    }

    #[test]
    fn whatever_happens_a_step_begins_as_soon_as_it_may_and_no_sooner(
        direction in any_direction(),
        steps in any_steps(),
        turns in prop::collection::vec(any_turn(), 0..60),
    ) {
        let mut schedule = schedule(direction, &steps);
        let mut world = World::new(direction, &steps);
        world.start(&mut schedule);
        for turn in &turns {
            world.turn(&mut schedule, turn);
            world.start(&mut schedule);
            prop_assert_eq!(schedule.has_failed(), !world.failed.is_empty());
            let done: BTreeSet<usize> = schedule.all_done().into_iter().collect();
            prop_assert_eq!(&done, &world.done);
            for index in schedule.not_started() {
                prop_assert!(!world.has_begun(index) || world.blocked.contains(&index));
            }
        }
    }

    #[test]
    fn in_a_down_plan_a_failure_stops_its_dependants_and_no_others(
        steps in any_steps(),
        fails in any::<Index>(),
        order in prop::collection::vec(any::<Index>(), 12),
    ) {
        // On the way down a step begins after all that it needs.
        let steps: Steps = steps.into_iter().map(|(_, needs)| (needs.clone(), needs)).collect();
        let fails = fails.index(steps.len());
        let mut behind = BTreeSet::from([fails]);
        for (index, (_, needs)) in steps.iter().enumerate() {
            if needs.iter().any(|need| behind.contains(need)) {
                behind.insert(index);
            }
        }
        let mut schedule = schedule(Direction::Down, &steps);
        let mut running: Vec<usize> = schedule.start();
        for at in order {
            if running.is_empty() {
                break;
            }
            let index = running.remove(at.index(running.len()));
            if index == fails { schedule.failed(index) } else { schedule.done(index) }
            running.extend(schedule.start());
        }
        let expected: Vec<usize> = (0..steps.len()).filter(|index| !behind.contains(index)).collect();
        prop_assert_eq!(schedule.all_done(), expected);
        behind.remove(&fails);
        prop_assert_eq!(schedule.not_started(), behind.into_iter().collect::<Vec<_>>());
    }
}
