//! What becomes of a run before a disk without room.

use std::sync::{Arc, Mutex};

use deploy::disk::{AllowFull, Room, Work, decide};
use deploy::failure::Exit;
use stack::{Event, Events};

#[test]
fn a_full_disk_stops_a_run_unless_that_is_known_and_what_is_unknown_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let context = tests::context(&[], Events::new(move |event| sink.lock().unwrap().push(event)));
    let full = || Room::Full("19.9 of 20 GiB".to_owned());
    let failure = decide(&context, full(), Work::Migrations, AllowFull::No).unwrap_err();
    assert_eq!(failure.exit, Exit::Failure);
    let text = failure.render_text();
    assert!(text.contains("the server's disk is full; nothing was migrated"), "{text}");
    assert!(text.contains("caused by: 19.9 of 20 GiB") && text.contains("`--allow-full-disk`"), "{text}");
    let failure = decide(&context, full(), Work::Databases, AllowFull::No).unwrap_err();
    assert_eq!(failure.exit, Exit::Failure);
    let text = failure.render_text();
    assert!(text.contains("full; nothing was created") && text.contains("mend what is there"), "{text}");
    assert!(told.lock().unwrap().is_empty());

    for room in
        [Room::Enough, Room::Unknown("refused".to_owned()), Room::Tight("18 of 20 GiB".to_owned()), full()]
    {
        decide(&context, room, Work::Migrations, AllowFull::Yes).unwrap();
    }
    let told = told.lock().unwrap();
    let [Event::Note { text: unknown }, Event::Warning { text: tight }, Event::Warning { text: full }] =
        told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert!(
        unknown.ends_with("unknown: refused") && tight.contains("nearly full") && full.contains("is full"),
        "{told:?}"
    );
}
