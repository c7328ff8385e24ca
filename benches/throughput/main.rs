//! How fast Tenure is, beside what it is made of.
//!
//!     cargo bench --bench throughput                          everything (half an hour or more)
//!     cargo bench --bench throughput -- --quick               everything, smaller (some minutes)
//!     cargo bench --bench throughput -- tenure bare-batch     these sections only
//!     cargo bench --bench throughput -- growth                what an event costs as clients and histories grow
//!
//! `growth` and `growth-most` (ten million clients) take long, and are measured only when they are asked for by name.
//!
//! A figure of events a second says as much of the machine as of the program. So nothing is judged alone: what is
//! compared runs in one run, on the same servers, in turn and several times over; medians are compared, and what counts
//! are their ratios. What Tenure is held against does as little as it can: it has no rules, keeps no order and looks
//! nothing up. The servers are as durable as in production.
//!
//! Without `--bench`, which is how `cargo test` runs it, every section runs with tiny numbers. No time is looked at
//! then; what is checked is that every event was taken, so that the benchmark cannot rot unseen.

#![allow(
    clippy::cast_precision_loss,
    reason = "figures are shown to three digits, and nothing here counts beyond 2^53"
)]

mod args;
mod bench;
mod check;
mod environment;
mod figures;
mod growth;
mod listener;
mod machine;
mod messages;
mod pace;
mod population;
mod preload;
mod publish;
mod report;
mod rows;
mod scale;
mod sections;
#[path = "../../tests/support/mod.rs"]
#[allow(unused_imports, reason = "it is the tests', and this uses a part of it")]
mod support;
mod watch;

use std::process::ExitCode;

use args::{Args, Wanted};
use bench::Bench;
use environment::Environment;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(Wanted::Run(args)) => args,
        Ok(Wanted::Nothing(said)) => {
            println!("{said}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("throughput: {why}");
            return ExitCode::from(2);
        }
    };
    let environment = Environment::new();
    // Pools of connections want to know their runtime when they are made.
    let _within = environment.runtime.enter();
    let mut bench = Bench::new(&environment, &args);
    bench.run();
    if args.is_smoke() {
        println!("throughput: what was asked for ran, and every count is right; no time was looked at");
        return ExitCode::SUCCESS;
    }
    match report::tell(&args, &bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("throughput: the figures could not be written: {why}");
            ExitCode::FAILURE
        }
    }
}
