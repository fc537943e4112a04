//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use leeward_saga::Status;

/// A platform for microservices that stay up. Without a command it starts the demo.
#[derive(Debug, Parser)]
#[command(name = "leeward", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole shop in one process: gateway, seven services, bus, saga, payment provider
    Demo(Demo),
    /// One service of the shop as a process of its own
    Shop(Shop),
    /// The gateway alone, in front of services in any language
    Gateway(Gateway),
    /// Reads a gateway configuration and reports every mistake in it
    Check(ConfigFile),
    /// Says what does not fit together in a gateway configuration, though it has no mistake
    Lint(Lint),
    /// Says what another gateway configuration would change, in meaning and not in text
    #[command(after_help = DIFF_HELP)]
    Diff(Diff),
    /// Prints a JSON schema of gateway configurations, for editors
    Schema,
    /// Shows a gateway configuration with all values in force, defaults included; or what would become of a request
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Explain),
    /// Keys and passwords of callers, for the files of `api_keys` and `basic`
    Keys(Keys),
    /// Says why a request was refused, or what was tried for it
    Why(Why),
    /// Sagas: list, show, and the operator's verbs
    Sagas(Sagas),
    /// Events: lag and dead letters
    Events(Events),
    /// Causes an outage on purpose, in a shop that was started with faults allowed
    Fault(Fault),
}

/// Where data lies and what may be reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// Folder of the databases
    #[arg(long, default_value = "leeward-data", env = "LEEWARD_DATA")]
    pub(crate) data: PathBuf,
    /// Deletes the databases of an earlier run first
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Port of the gateway, in place of the configuration's; 0 takes a free one
    #[arg(long, env = "LEEWARD_PORT")]
    pub(crate) port: Option<u16>,
    /// Port of the admin API, in place of the configuration's; 0 takes a free one
    #[arg(long, env = "LEEWARD_ADMIN_PORT")]
    pub(crate) admin_port: Option<u16>,
    /// Gateway configuration in place of the built-in one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A service that runs elsewhere, for example inventory=http://127.0.0.1:4002; repeat for more
    #[arg(long, value_name = "NAME=URL")]
    pub(crate) at: Vec<String>,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

impl Default for Demo {
    /// What `leeward demo` without a flag means.
    fn default() -> Self {
        let parsed = Cli::try_parse_from(["leeward", "demo"]).map(|cli| cli.command);
        match parsed {
            Ok(Some(Command::Demo(demo))) => demo,
            // Only a malformed environment key gets here: clap says which.
            Err(error) => error.exit(),
            Ok(_) => unreachable!("`leeward demo` is the demo"),
        }
    }
}

/// One service.
#[derive(Debug, Args)]
pub(crate) struct Shop {
    /// users, catalog, inventory, orders, payments, shipping, notifications, or provider
    pub(crate) name: String,
    /// Folder of the databases
    #[arg(long, default_value = "leeward-data", env = "LEEWARD_DATA")]
    pub(crate) data: PathBuf,
    /// Address to listen on; by default 127.0.0.1 and the service's own port, 4001 to 4008
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// The bus: leeward://HOST:PORT of the process that owns it
    #[arg(long, default_value = "leeward://127.0.0.1:9900", env = "LEEWARD_BUS")]
    pub(crate) bus: String,
    /// Admin API of the process that knows where the other services are
    #[arg(long, default_value = "http://127.0.0.1:9900", env = "LEEWARD_ADMIN")]
    pub(crate) admin: String,
    /// Where another service is, for example orders=http://127.0.0.1:4004; repeat for more. Wins over --admin
    #[arg(long, value_name = "NAME=URL")]
    pub(crate) at: Vec<String>,
    /// Lets `leeward fault` break this service
    #[arg(long)]
    pub(crate) allow_faults: bool,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

/// The gateway.
#[derive(Clone, Debug, Args)]
pub(crate) struct Gateway {
    /// Configuration file
    #[arg(default_value = "leeward.yaml")]
    pub(crate) config: PathBuf,
    /// Folder of its keys and of how far deliveries are, and of its database in place of the configuration's
    /// `revocation.database` [default but for the database: leeward-data]
    #[arg(long, env = "LEEWARD_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The bus that revocations come over: leeward://HOST:PORT of the process that owns it
    #[arg(long, env = "LEEWARD_BUS")]
    pub(crate) bus: Option<String>,
    /// Where a service is, in place of its `urls`, for example orders=http://127.0.0.1:4004; repeat for more services, or
    /// for more endpoints of one
    #[arg(long, value_name = "NAME=URL")]
    pub(crate) at: Vec<String>,
    #[command(flatten)]
    pub(crate) logs: Logs,
}

const EXPLAIN_HELP: &str = "Examples:
  leeward explain leeward.yaml
  leeward explain GET /api/v1/orders -H 'Authorization: Bearer x'
  leeward explain --config edge.yaml POST /api/v1/checkout";

/// What is to be explained.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A configuration file, or a method and a URL
    #[arg(value_name = "FILE | METHOD URL", num_args = 0..=2)]
    pub(crate) what: Vec<String>,
    /// Configuration file [default: leeward.yaml]
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// A header of the request, `Name: value`; repeat for more
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
}

/// A request of which somebody wants to know why it went as it did.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Its id: the answer's x-request-id
    pub(crate) request_id: String,
    #[command(flatten)]
    pub(crate) admin: Admin,
}

/// A configuration file.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// The file
    #[arg(default_value = "leeward.yaml")]
    pub(crate) config: PathBuf,
}

/// What is to be looked at, and how closely.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Configuration file
    #[arg(default_value = "leeward.yaml")]
    pub(crate) config: PathBuf,
    /// The least that is shown, and that the exit code counts
    #[arg(long, default_value = "warning")]
    pub(crate) level: Level,
    /// Prints a JSON list
    #[arg(long)]
    pub(crate) json: bool,
}

const DIFF_HELP: &str =
    "Exit code: 0 when both mean the same, 1 when something differs, 2 when one of them cannot be read.

Examples:
  leeward diff leeward.yaml new.yaml
  git show HEAD:leeward.yaml > before.yaml && leeward diff before.yaml leeward.yaml --json";

/// Two configurations.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The configuration before
    pub(crate) old: PathBuf,
    /// The configuration after
    pub(crate) new: PathBuf,
    /// Prints a JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// Keys of callers.
#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    pub(crate) verb: KeyVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Makes a key: its line for the file goes to standard output, the key itself to standard error, this once
    #[command(after_help = KEYS_HELP)]
    New {
        /// What the caller is called: letters, digits, `-`, `_`, `.`, `@` and `+`
        id: String,
        /// What its holder is and may: user:ID role:NAME permission:NAME scope:NAME claim:NAME=VALUE expires:2027-06-30
        words: Vec<String>,
    },
    /// Writes the line of an account for the file of `basic`; the password is read from standard input
    Password {
        /// The name: letters, digits, `-`, `_`, `.`, `@` and `+`
        name: String,
        /// What its holder is and may, as for a key
        words: Vec<String>,
    },
}

const KEYS_HELP: &str = "Examples:
  leeward keys new ci role:deploy expires:2027-06-30 >> callers.keys";

/// How much a finding matters.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    /// Worth knowing
    Note,
    /// Will hurt on a bad day
    Warning,
    /// Does not do what it says
    Error,
}

/// What is logged, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct Logs {
    /// What to log: error, warn, info, debug, trace, or directives such as info,leeward_saga=debug
    #[arg(long, default_value = "warn", env = "LEEWARD_LOG")]
    pub(crate) log: String,
    /// How log lines look
    #[arg(long, default_value = "human", env = "LEEWARD_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

/// Where the admin API is.
#[derive(Debug, Args)]
pub(crate) struct Admin {
    /// Address of the admin API
    #[arg(long, global = true, default_value = "http://127.0.0.1:9900", env = "LEEWARD_ADMIN")]
    pub(crate) admin: String,
    /// Token of the admin API, needed off loopback
    #[arg(long, global = true, env = "LEEWARD_ADMIN_TOKEN", hide_env_values = true)]
    pub(crate) admin_token: Option<String>,
}

/// Sagas.
#[derive(Debug, Args)]
pub(crate) struct Sagas {
    #[command(flatten)]
    pub(crate) admin: Admin,
    #[command(subcommand)]
    pub(crate) verb: SagaVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SagaVerb {
    /// Lists sagas, newest first
    List {
        /// Only this service's
        #[arg(long)]
        service: Option<String>,
        /// Only these
        #[arg(long, value_parser = PossibleValuesParser::new(Status::ALL.map(Status::name)))]
        status: Option<String>,
        /// At most so many, 1 to 100
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Shows one saga with its history
    Show {
        /// The saga
        id: String,
    },
    /// Tries the present step again at once
    Retry {
        /// The saga
        id: String,
    },
    /// Leaves a stuck step out
    Skip {
        /// The saga
        id: String,
        /// Why; kept in the history
        #[arg(long)]
        reason: String,
    },
    /// Takes a stuck step as done by hand
    MarkDone {
        /// The saga
        id: String,
        /// Why; kept in the history
        #[arg(long)]
        reason: String,
    },
}

/// Events.
#[derive(Debug, Args)]
pub(crate) struct Events {
    #[command(flatten)]
    pub(crate) admin: Admin,
    #[command(subcommand)]
    pub(crate) verb: EventVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventVerb {
    /// How far each consumer is behind, and what waits in each outbox
    Lag,
    /// Dead letters
    Dead {
        #[command(subcommand)]
        verb: DeadVerb,
    },
    /// Fills a read model again from its owner's log
    Rebuild {
        /// The service that has the read model, for example orders
        service: String,
        /// The read model, for example orders.history
        projection: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadVerb {
    /// Lists them
    List,
    /// Shows one whole
    Show {
        /// The service that holds it
        service: String,
        /// Its number
        id: String,
    },
    /// Hands it to its consumer again
    Replay {
        /// The service that holds it
        service: String,
        /// Its number
        id: String,
    },
    /// Gives it up; its key goes on
    Drop {
        /// The service that holds it
        service: String,
        /// Its number
        id: String,
        /// Why; kept in the audit log
        #[arg(long)]
        reason: String,
    },
}

/// Outages.
#[derive(Debug, Args)]
pub(crate) struct Fault {
    #[command(flatten)]
    pub(crate) admin: Admin,
    /// The service, or provider
    pub(crate) target: String,
    /// What goes wrong, for example latency=2s errors=50%, refuse, lost-replies=100%; none shows what is set. A
    /// service's faults end by themselves after ten minutes, or as lasts=5m says
    pub(crate) faults: Vec<String>,
    /// Ends all faults of the target
    #[arg(long)]
    pub(crate) clear: bool,
}
