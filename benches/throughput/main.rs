//! Measures the throughput and latency of Tenure, and of simpler programs on the same servers for comparison.
//!
//!     cargo bench --bench throughput                          all sections (half an hour or more)
//!     cargo bench --bench throughput -- --quick               all sections at a smaller scale (some minutes)
//!     cargo bench --bench throughput -- tenure bare-batch     these sections only
//!     cargo bench --bench throughput -- linear                whether a larger import takes longer per event
//!     cargo bench --bench throughput -- growth                what an event costs as clients and histories grow
//!     cargo bench --bench throughput -- pages                 how long the pages of the console take with many clients
//!     cargo bench --bench throughput -- --postgres wal_compression=lz4 growth          with another setting of PostgreSQL
//!     TENURE_TELEMETRY__OTLP_ENDPOINT=http://127.0.0.1:4318 cargo bench --bench throughput -- tenure    with traces, to a collector
//!
//! With traces, each message belongs to a recorded trace of its own.
//!
//! `growth`, `growth-most` (ten million clients) and `pages` take long, so they run only when named.
//!
//! Events per second depend on the machine as much as on the program, so the results that matter are ratios. Sections
//! that are compared alternate in one run, on the same servers, for several rounds; the ratios are those of the
//! medians. The programs that Tenure is compared with do as little as possible: they have no rules, keep no order and
//! read nothing. The servers are as durable as in production.
//!
//! Without `--bench`, as `cargo test` runs it, every section runs at a tiny scale and measures nothing. It then checks
//! only that every event was ingested, so that the benchmark keeps working.

#![allow(
    clippy::cast_precision_loss,
    reason = "figures are shown with three digits, and no count exceeds 2^53"
)]

mod args;
mod bench;
mod check;
mod copies;
mod environment;
mod figures;
mod growth;
mod machine;
mod messages;
mod pace;
mod pages;
mod population;
mod preload;
mod publish;
mod report;
mod rows;
mod scale;
mod sections;
mod subscriber;
#[path = "../../tests/support/mod.rs"]
#[allow(
    unused_imports,
    reason = "shared with the tests; the benchmark uses a part of it"
)]
mod support;
mod watch;

use std::process::ExitCode;

use args::{Action, Args};
use bench::Bench;
use environment::Environment;

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(Action::Run(args)) => args,
        Ok(Action::Print(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("throughput: {why}");
            return ExitCode::from(2);
        }
    };
    let environment = Environment::new(&args.postgres);
    // Connection pools must be created within a runtime.
    let _within = environment.runtime.enter();
    let mut bench = Bench::new(&environment, &args);
    bench.run();
    if args.is_smoke() {
        println!("throughput: every section ran, and every count is correct; nothing was measured");
        return ExitCode::SUCCESS;
    }
    match report::write(&args, &bench) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("throughput: cannot write the figures: {why}");
            ExitCode::FAILURE
        }
    }
}
