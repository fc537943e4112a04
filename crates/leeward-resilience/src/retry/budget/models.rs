//! Every interleaving of two threads at one budget.

use loom::thread;

use super::*;

const NOW: Instant = Instant::from_nanos(1);

fn budget(ratio: f64, floor: u32) -> RetryBudget {
    RetryBudget::new(&Budget { ratio, floor, ..Budget::default() }, NOW).unwrap()
}

#[test]
fn loom_no_retry_is_granted_twice() {
    loom::model(|| {
        let budget = budget(0.0, 1);
        let thread = thread::spawn({
            let budget = budget.clone();
            move || budget.withdraw(NOW)
        });
        let here = budget.withdraw(NOW);
        assert!(here != thread.join().unwrap(), "exactly one of them");
    });
}

#[test]
fn loom_no_deposit_is_lost() {
    loom::model(|| {
        let budget = budget(0.5, 0);
        budget.deposit(NOW);
        let thread = thread::spawn({
            let budget = budget.clone();
            move || {
                budget.deposit(NOW);
                budget.deposit(NOW);
            }
        });
        budget.deposit(NOW);
        // A withdrawal meanwhile sees some of them.
        let early = u32::from(budget.withdraw(NOW));
        thread.join().unwrap();
        let later = (0..4).map(|_| u32::from(budget.withdraw(NOW))).sum::<u32>();
        assert_eq!(early + later, 2, "half of four");
    });
}
