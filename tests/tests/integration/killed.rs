//! Runs that are killed at random moments, one after the other: nothing is there twice, and one `down` empties the account.

use deploy::failure::Failure;
use deploy::task::{down, up};
use sandbox::gateway::{Fault, FaultKind};
use tests::{Fixture, Want};

/// Brings everything up once more and finds nothing twice, then takes it down and finds nothing left.
async fn settle(fixture: &Fixture) {
    let told = |failure: Failure| failure.render_text();
    up::converge(&fixture.context, &[]).await.map_err(told).expect("`up` mends what the others left");
    let (_, inventory) = fixture.context.observe().await.expect("the account can be observed");
    let plan = stack::plan::up(&fixture.context.stack, &inventory, &[]);
    assert!(plan.is_empty(), "there is still {:?}", plan.steps);
    let counts = [
        inventory.vpcs.len(),
        inventory.gateways.len(),
        inventory.subnets.len(),
        inventory.route_tables.len(),
        inventory.instances.len(),
    ];
    assert_eq!(counts, [1, 1, 3, 2, 1], "{inventory:?}");
    // Fails if an audit finds anything left.
    down::demolish(&fixture.context).await.map_err(told).expect("one `down` empties the account");
}

/// Does one or the other; what counts is what comes after it.
async fn attempt(fixture: &Fixture, goes_up: bool) {
    if goes_up {
        drop(up::converge(&fixture.context, &[]).await);
    } else {
        drop(down::demolish(&fixture.context).await);
    }
}

#[test]
fn kills_at_random_moments_one_after_the_other_leave_nothing_twice() {
    tests::block_on(async {
        let fixture = Fixture::start(Want::ControlPlane).await;
        let kills = if tests::sweeps_fully() { 200 } else { 40 };
        let mut random = crate::migrate::join::chance(20_261_125);
        for kill in 1..=kills {
            let gateway = fixture.cloud.gateway();
            let nth = u64::try_from(random(70) + 1).expect("a small number");
            gateway.inject(Fault { service: None, operation: None, nth, kind: FaultKind::Hold });
            // A reply that is held never comes: the run ends there, whatever it was about to do.
            tokio::select! {
                () = attempt(&fixture, random(3) > 0) => (),
                () = gateway.wait_until_fired() => (),
            }
            gateway.clear_faults();
            if kill % 20 == 0 {
                settle(&fixture).await;
                gateway.reset().await.expect("an empty account can be made new");
            }
        }
        fixture.stop().await;
    });
}
