//! `martlet bench`: drives any MQTT broker from outside, checks every message, and measures.
//!
//! One thread, one epoll loop, and bytes compared with those that must come: what is as expected is
//! never decoded, what is not is decoded by the codec and explained. It uses nothing of Martlet but the
//! codec and the layers of TLS and WebSocket: no client, no session, so that what it says of our broker it says of any.
//!
//! [`BenchArgs`] are its arguments, [`run`] runs it, [`Report`] is what it finds.

mod args;
mod bulk;
mod check;
mod client;
mod connections;
mod driver;
mod error;
mod flow;
mod histogram;
mod kept;
mod message;
mod meter;
mod process;
mod relay;
mod report;
mod run;
mod socket;
mod stored;
mod topics;
mod traffic;
mod way;
mod wire;

pub use args::BenchArgs;
pub use check::Faults;
pub use error::Error;
pub use report::{Latency, Phase, Report, ServerUse};

use args::{Server, Workload};
use run::Run;
use traffic::Layout;

/// What a run is to print, and whether all went well.
#[derive(Debug)]
pub struct Outcome {
    /// Text, or JSON where that was asked for.
    pub text: String,
    /// Every message came as it must, and the run came to its end.
    pub good: bool,
}

/// Runs a workload to its end.
pub fn run(args: &BenchArgs) -> Result<Outcome, Error> {
    let (server, report) = match &args.workload {
        Workload::Pairs {
            pairs,
            order,
            traffic,
            server,
        } => {
            let layout = Layout::Pairs(*pairs, *order);
            (server, traffic::run(&mut start(server)?, layout, traffic)?)
        }
        Workload::FanOut {
            subscribers,
            traffic,
            server,
        } => {
            let layout = Layout::FanOut(*subscribers);
            (server, traffic::run(&mut start(server)?, layout, traffic)?)
        }
        Workload::FanIn {
            publishers,
            traffic,
            server,
        } => {
            let layout = Layout::FanIn(*publishers);
            (server, traffic::run(&mut start(server)?, layout, traffic)?)
        }
        Workload::Filters {
            filters,
            subscribers,
            publishers,
            traffic,
            server,
        } => {
            let counts = (*filters, *subscribers, *publishers);
            (
                server,
                traffic::run_filters(&mut start(server)?, counts, traffic)?,
            )
        }
        Workload::Retained {
            messages,
            load,
            after,
            server,
        } => {
            let report = kept::run_retained(&mut start(server)?, *messages, load, *after)?;
            (server, report)
        }
        Workload::Offline {
            messages,
            load,
            after,
            server,
        } => {
            let report = kept::run_offline(&mut start(server)?, *messages, load, *after)?;
            (server, report)
        }
        Workload::Stored {
            part,
            sessions,
            filters,
            messages,
            publishers,
            load,
            server,
        } => {
            let counts = stored::Counts {
                sessions: *sessions,
                filters: *filters,
                messages: *messages,
                publishers: *publishers,
            };
            let report = stored::run(&mut start(server)?, *part, counts, load)?;
            (server, report)
        }
        Workload::Connect {
            at_once,
            seconds,
            server,
        } => {
            let report = connections::run_connect(&mut start(server)?, *at_once, *seconds)?;
            (server, report)
        }
        Workload::Idle {
            connections,
            after,
            server,
        } => {
            let report = connections::run_idle(&mut start(server)?, *connections, *after)?;
            (server, report)
        }
        Workload::Relay(args) => {
            let text = relay::run(args)?;
            return Ok(Outcome { text, good: true });
        }
    };
    let text = if server.json {
        let json = serde_json::to_string_pretty(&report).expect("a report has no maps with odd keys");
        json + "\n"
    } else {
        report.text()
    };
    Ok(Outcome {
        text,
        good: report.is_good(),
    })
}

fn start(server: &Server) -> Result<Run, Error> {
    Run::new(server.clone())
}
