use std::process::Command;

use leeward_runtime::signals::{Signal, Signals, terminated};

fn raise(name: &str) {
    let pid = std::process::id().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

// One test, since a signal reaches every listener of the process.
#[tokio::test]
async fn signals_that_ask_to_stop_are_heard_and_do_not_kill() {
    let first = terminated();
    let mut all = Signals::listen().unwrap();
    raise("TERM");
    assert_eq!(first.await, Signal::Terminate);
    assert_eq!(all.next().await, Signal::Terminate);
    raise("INT");
    assert_eq!(all.next().await, Signal::Interrupt);
    assert_eq!((Signal::Interrupt.exit_code(), Signal::Terminate.exit_code()), (130, 143));
}
