//! Rounds in which a process is killed under load, and what is left is judged.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use leeward_resilience::{FastRng, Rng};
use serde_json::json;

use crate::customer::Customer;
use crate::files::sagas_by_step;
use crate::load::{Load, Wish};
use crate::oracle::{Books, Claims, Violation};
use crate::shop::{Shop, Topology};

/// The steps of the checkout at which a kill can find a saga, as the journal names them. The last one, `confirm-order`, is not among
/// them: it shares the transaction that takes the reply of `create-shipment`, so that the disk never shows a saga before it.
pub const STEPS: [&str; 4] = ["reserve-stock", "authorise-payment", "capture-payment", "create-shipment"];

/// From so many rounds on, every step of the checkout must have been hit.
pub const DEEP_ROUNDS: u64 = 20;

/// Customers who buy during a round.
const CUSTOMERS: usize = 12;
/// The longest time from the first orders to the kill, in milliseconds.
const KILL_MS_MAX: u64 = 1_200;
/// The longest time until the process is started again, in milliseconds.
const DOWN_MS_MAX: u64 = 400;
/// For so long customers go on after it has been started again, in milliseconds.
const AFTER_MS: u64 = 400;
/// How long the provider takes for each operation, in milliseconds: what is outside is not as fast as we are, and the
/// steps that wait for it are hit more often.
const PROVIDER_MS: u64 = 15;
/// The share of the provider's answers that get lost: each leaves an outcome open, with or without a kill.
const PROVIDER_LOST: f64 = 0.02;
/// Rounds that may find no saga under way, for each that counts.
const IDLE_ROUNDS_MAX: u64 = 3;
/// Answers that are asked for once more after a round: enough to meet those that were in flight.
const REPEATS_MAX: usize = 60;
/// A session is renewed after so long: well before its token ends.
const RENEW_AFTER: Duration = Duration::from_secs(5 * 60);

/// How many rounds, and which.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds that count.
    pub rounds: u64,
    /// What all choices follow from.
    pub seed: u64,
}

impl Plan {
    /// `LEEWARD_CRASH_ROUNDS` (2 when not set) and `LEEWARD_CRASH_SEED` (any when not set).
    #[must_use]
    pub fn from_env() -> Self {
        let number = |key: &str| {
            std::env::var(key).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{key}={text}")))
        };
        let any = || FastRng::from_entropy().next_u64() % 1_000_000;
        Self {
            rounds: number("LEEWARD_CRASH_ROUNDS").unwrap_or(2),
            seed: number("LEEWARD_CRASH_SEED").unwrap_or_else(any),
        }
    }
}

/// What came of the rounds.
#[derive(Debug, Default)]
pub struct Report {
    /// Sagas by the step that they were at when a process was killed, over all rounds.
    pub steps: BTreeMap<String, u64>,
    /// Rounds that counted.
    pub rounds: u64,
    /// Authorisations that were voided, over all rounds: without any, nothing is said about the undoing of payments.
    pub voided: usize,
    /// What does not fit; the rounds end with the first.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Steps that no kill has met.
    #[must_use]
    pub fn missed(&self) -> Vec<&'static str> {
        STEPS.into_iter().filter(|step| !self.steps.contains_key(*step)).collect()
    }
}

/// Runs rounds until enough of them counted, or something does not fit.
pub async fn run(shop: &mut Shop, plan: Plan) -> Report {
    println!("{:?}: {} rounds, LEEWARD_CRASH_SEED={}", shop.topology(), plan.rounds, plan.seed);
    shop.fault_provider(&json!({ "latency_ms": PROVIDER_MS, "lost_reply_rate": PROVIDER_LOST })).await;
    let rng = FastRng::seeded(plan.seed);
    let mut crowd = Customer::crowd(&shop.api(), CUSTOMERS).await;
    let mut logged_in = Instant::now();
    let products: Vec<String> =
        shop_app::seed::products().into_iter().map(|it| it.product_id.to_string()).collect();
    let (mut report, mut claims) = (Report::default(), Claims::default());
    for round in 1..=plan.rounds * IDLE_ROUNDS_MAX {
        if logged_in.elapsed() > RENEW_AFTER {
            for customer in &mut crowd {
                *customer = customer.again().await;
            }
            logged_in = Instant::now();
        }
        let load = Load::start(&crowd, &products, rng.next_u64());
        let hit = kill_one(shop, &load, &rng).await;
        println!("round {round}: {} {}", hit.victim, hit.told());
        let wishes = load.finish().await;
        report.violations = judge_round(shop, &wishes, &mut claims).await;
        report.voided = Books::read(shop).await.voided();
        if !report.violations.is_empty() {
            return report;
        }
        if hit.steps.is_empty() {
            continue;
        }
        report.rounds += 1;
        for (step, count) in hit.steps {
            *report.steps.entry(step).or_default() += count;
        }
        if report.rounds == plan.rounds {
            break;
        }
    }
    report
}

/// What a kill met.
struct Hit {
    victim: &'static str,
    steps: BTreeMap<String, u64>,
    accepted: usize,
}

impl Hit {
    fn told(&self) -> String {
        let steps: Vec<String> = self.steps.iter().map(|(step, count)| format!("{step} {count}")).collect();
        let steps =
            if steps.is_empty() { "no saga under way, does not count".to_owned() } else { steps.join(", ") };
        format!("killed after {} orders; sagas at: {steps}", self.accepted)
    }
}

/// Kills a process at a random moment, looks at what was under way, and starts it again.
async fn kill_one(shop: &mut Shop, load: &Load, rng: &FastRng) -> Hit {
    let pause = async |ms| tokio::time::sleep(Duration::from_millis(ms)).await;
    load.warm().await;
    pause(rng.below(KILL_MS_MAX)).await;
    let victims = shop.killable();
    let victim = match shop.topology() {
        Topology::One => victims[0],
        Topology::Seven => victims[usize::try_from(rng.below(victims.len() as u64)).unwrap_or(0)],
    };
    shop.kill(victim);
    let (steps, accepted) = (sagas_by_step(shop.data()), load.accepted());
    pause(rng.below(DOWN_MS_MAX)).await;
    shop.start_process(victim);
    pause(AFTER_MS).await;
    Hit { victim, steps, accepted }
}

/// Everything that does not fit after a round.
async fn judge_round(shop: &Shop, wishes: &[Wish], claims: &mut Claims) -> Vec<Violation> {
    let mut violations: Vec<Violation> = wishes.iter().filter_map(|wish| wish.note(claims)).collect();
    for wish in wishes.iter().filter(|wish| wish.order_id.is_some()).take(REPEATS_MAX) {
        violations.extend(wish.once_more().await);
    }
    violations.extend(shop.violations(claims).await);
    violations
}
