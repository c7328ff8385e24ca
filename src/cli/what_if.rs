//! `tenure what-if`: the same histories under another policy.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;

use super::context::{Context, UsageError};
use super::moment::{Until, parse_until};
use super::output::{self, Progress, Safe};
use crate::config::{changed_policy, format_duration, policy_settings};
use crate::csv_row::Cell;
use crate::domain::Policy;
use crate::domain::id::check_id;
use crate::domain::intervals::{Interval, Intervals};
use crate::domain::time::{rfc3339, serialize};
use crate::engine::{
    ClientWhatIf, Coming, Difference, Engine, PartnerWhatIf, Total, WhatIfDay, WhatIfDays, WhatIfRequest,
    WhatIfTotals,
};

/// Where a comparison begins and ends, unless the command says otherwise.
const SINCE: Until = Until::In(WhatIfRequest::BACK);
const UNTIL: Until = Until::In(WhatIfRequest::AHEAD);

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure what-if --set access.idle=45d\n  tenure what-if --set access.idle=30d --set \"access.warn_before=7d, 1d\"\n  tenure what-if --partner acme\n  tenure what-if --since 90d -o csv > what-if.csv"
)]
pub struct WhatIfArgs {
    /// Another value for a setting of the policy in effect; repeat it for several [default: the policy in the settings]
    #[arg(long, value_name = "SETTING=VALUE")]
    set: Vec<String>,
    /// Only clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// The beginning of the comparison: a time before now (90d, 1y), or a moment
    #[arg(long, value_name = "DURATION|TIME", default_value_t = SINCE, value_parser = parse_until, allow_hyphen_values = true)]
    since: Until,
    /// The end of the comparison: a time from now (90d), or a moment
    #[arg(long, value_name = "DURATION|TIME", default_value_t = UNTIL, value_parser = parse_until, allow_hyphen_values = true)]
    until: Until,
}

/// Clients of a page.
const PAGE: u32 = 1_000;
/// Maximum number of clients, and of partners, in a table.
const MAX_LISTED: usize = 200;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Tables,
    Json,
    Csv,
    /// Only the sums, which the caller prints.
    Sums,
}

/// The sums of a comparison, for programs.
#[derive(Serialize)]
pub struct Sums {
    policy: Policy,
    #[serde(serialize_with = "serialize")]
    since: DateTime<Utc>,
    #[serde(serialize_with = "serialize")]
    until: DateTime<Utc>,
    #[serde(flatten)]
    totals: WhatIfTotals,
    days: Vec<WhatIfDay>,
}

/// A comparison while its pages arrive.
struct Report {
    format: Format,
    progress: Progress,
    clients: Vec<ClientWhatIf>,
    partners: Vec<PartnerWhatIf>,
    /// The partner whose clients may go on on the next page.
    open: Option<PartnerWhatIf>,
    totals: WhatIfTotals,
    days: WhatIfDays,
}

pub async fn run(context: &Context, args: WhatIfArgs) -> anyhow::Result<ExitCode> {
    if let Some(partner) = &args.partner {
        check_id("partner", partner).map_err(|error| UsageError(error.to_string()))?;
    }
    let format = match (context.is_csv(), context.is_json()) {
        (true, _) => Format::Csv,
        (false, true) => Format::Json,
        (false, false) => Format::Tables,
    };
    let engine = context.engine().await?;
    let latest = engine.latest_policy().await?;
    let policy = if args.set.is_empty() {
        context.settings.policy()
    } else {
        changed_policy(&latest, &args.set, "--set")?
    };
    let now = engine.now();
    let request = WhatIfRequest {
        policy,
        partner: args.partner,
        since: args.since.before(now),
        until: args.until.moment(now),
        after: None,
        limit: PAGE,
    };
    if request.since > request.until {
        return Err(UsageError("--since is after --until".into()).into());
    }
    if format == Format::Csv {
        output::csv(&HEAD.map(Cell::from));
    }
    let mut report = Report::new(format);
    let sums = report.fill(&engine, request).await?;
    if format == Format::Json {
        output::json(&sums)?;
    } else if format == Format::Tables {
        report.print_tables(&sums);
        print_summary(&sums, &latest);
    }
    Ok(ExitCode::SUCCESS)
}

/// The sums of all clients under a policy.
pub async fn sums(engine: &Engine, policy: &Policy) -> anyhow::Result<Sums> {
    let now = engine.now();
    let request = WhatIfRequest {
        policy: policy.clone(),
        partner: None,
        since: SINCE.before(now),
        until: UNTIL.moment(now),
        after: None,
        limit: PAGE,
    };
    Report::new(Format::Sums).fill(engine, request).await
}

impl Report {
    fn new(format: Format) -> Self {
        Self {
            format,
            progress: Progress::new("clients"),
            clients: Vec::new(),
            partners: Vec::new(),
            open: None,
            totals: WhatIfTotals::default(),
            days: WhatIfDays::default(),
        }
    }

    /// Compares page by page, and prints what is not for the tables.
    async fn fill(&mut self, engine: &Engine, mut request: WhatIfRequest) -> anyhow::Result<Sums> {
        loop {
            let page = engine.what_if(&request).await?;
            for client in page.clients {
                self.add_client(client)?;
            }
            for partner in page.partners {
                self.totals.add(&partner.totals);
                self.add_partner(partner)?;
            }
            for day in &page.days {
                self.days.add(day);
            }
            let Some(next) = page.next else { break };
            self.progress.tick(self.totals.clients, &next);
            request.after = Some(next);
        }
        self.end_partner()?;
        self.progress.end();
        Ok(Sums {
            policy: request.policy,
            since: request.since,
            until: request.until,
            totals: std::mem::take(&mut self.totals),
            days: std::mem::take(&mut self.days).into_days(),
        })
    }

    fn add_client(&mut self, client: ClientWhatIf) -> anyhow::Result<()> {
        match self.format {
            Format::Json => output::json(&client)?,
            Format::Csv => print_csv(&client),
            Format::Tables if self.clients.len() < MAX_LISTED => self.clients.push(client),
            Format::Tables | Format::Sums => {}
        }
        Ok(())
    }

    fn add_partner(&mut self, partner: PartnerWhatIf) -> anyhow::Result<()> {
        if let Some(open) = &mut self.open
            && open.partner == partner.partner
        {
            open.totals.add(&partner.totals);
            return Ok(());
        }
        self.end_partner()?;
        self.open = Some(partner);
        Ok(())
    }

    fn end_partner(&mut self) -> anyhow::Result<()> {
        let Some(partner) = self.open.take() else {
            return Ok(());
        };
        match self.format {
            Format::Json => output::json(&partner)?,
            Format::Tables if partner.totals.differ > 0 && self.partners.len() < MAX_LISTED => {
                self.partners.push(partner);
            }
            _ => {}
        }
        Ok(())
    }

    fn print_tables(&self, sums: &Sums) {
        if !sums.days.is_empty() {
            output::block(days(&sums.days));
        }
        if self.clients.is_empty() {
            return;
        }
        output::block(output::table(
            &[
                "client",
                "access lost",
                "access gained",
                "billing days",
                "commission days",
                "changes",
            ],
            self.clients.iter().map(|client| {
                vec![
                    client.client.clone(),
                    periods(&client.access.lost),
                    periods(&client.access.gained),
                    signed(client.billing.lost_days, client.billing.gained_days),
                    signed(client.commission.lost_days, client.commission.gained_days),
                    signed(client.dropped.len() as u64, client.added.len() as u64),
                ]
            }),
        ));
        let unlisted = sums.totals.differ - self.clients.len() as u64;
        if unlisted > 0 {
            output::line(format!(
                "and {}: --output json or csv lists all",
                output::counted(unlisted, "more client")
            ));
        }
        output::block(output::table(
            &[
                "partner",
                "clients",
                "differ",
                "access lost",
                "access gained",
                "billing days",
                "commission days",
            ],
            self.partners.iter().map(|partner| {
                let totals = &partner.totals;
                vec![
                    partner.partner.clone(),
                    totals.clients.to_string(),
                    totals.differ.to_string(),
                    total(&totals.access.lost),
                    total(&totals.access.gained),
                    signed(totals.billing.lost.days, totals.billing.gained.days),
                    signed(totals.commission.lost.days, totals.commission.gained.days),
                ]
            }),
        ));
    }
}

/// The columns of a comparison as comma-separated values.
const HEAD: [&str; 7] = ["partner", "client", "what", "difference", "from", "to", "seconds"];

fn print_csv(client: &ClientWhatIf) {
    let (partner, id) = client.client.split_once('/').unwrap_or_default();
    let line = |what: &str, difference: &str, interval: &Interval| {
        output::csv(&[
            partner.into(),
            id.into(),
            what.into(),
            difference.into(),
            rfc3339(interval.from).into(),
            rfc3339(interval.to).into(),
            (interval.to - interval.from).num_seconds().into(),
        ]);
    };
    let differences: [(&str, &Difference); 3] = [
        ("access", &client.access),
        ("billing", &client.billing),
        ("commission", &client.commission),
    ];
    for (what, difference) in differences {
        for interval in difference.lost.as_slice() {
            line(what, "lost", interval);
        }
        for interval in difference.gained.as_slice() {
            line(what, "gained", interval);
        }
    }
}

/// Prints the sums. `latest` is the policy in effect.
pub fn print_summary(sums: &Sums, latest: &Policy) {
    let changed = differing(latest, &sums.policy);
    let under = if changed.is_empty() {
        "the policy in effect for all time".to_owned()
    } else {
        let changed = changed
            .iter()
            .map(|setting| format!("{}={}", setting.key, setting.to));
        changed.collect::<Vec<_>>().join(", ")
    };
    let totals = &sums.totals;
    output::line(format!(
        "under {under}, from {} to {}: {} of {} {}",
        rfc3339(sums.since),
        rfc3339(sums.until),
        totals.differ,
        output::counted(totals.clients, "client"),
        if totals.differ == 1 { "differs" } else { "differ" },
    ));
    for (what, difference) in [
        ("access", &totals.access),
        ("billing", &totals.billing),
        ("commission", &totals.commission),
    ] {
        output::line(format!(
            "{what}: lost {}; gained {}",
            total(&difference.lost),
            total(&difference.gained)
        ));
    }
    output::line(format!("to come: {}", coming(&totals.coming)));
}

/// A setting that two policies have different values of.
pub struct Differing {
    pub key: String,
    pub from: String,
    pub to: String,
}

/// The settings that differ between two policies.
pub fn differing(before: &Policy, after: &Policy) -> Vec<Differing> {
    let pairs = policy_settings(before).into_iter().zip(policy_settings(after));
    pairs
        .filter(|((_, from), (_, to))| from != to)
        .map(|((key, from), (_, to))| Differing { key, from, to })
        .collect()
}

fn days(days: &[WhatIfDay]) -> Safe {
    output::table(
        &["day", "under the recorded policies", "under the other policy"],
        days.iter().map(|day| {
            let counts = |counts: &BTreeMap<String, u64>| {
                let counts = counts.iter().map(|(kind, count)| format!("{count} {kind}"));
                counts.collect::<Vec<_>>().join(", ")
            };
            vec![
                day.day.to_string(),
                counts(&day.coming.recorded),
                counts(&day.coming.what_if),
            ]
        }),
    )
}

/// The changes to come by type, those of which the number differs.
fn coming(coming: &Coming) -> String {
    let kinds: BTreeSet<&String> = coming.recorded.keys().chain(coming.what_if.keys()).collect();
    let of = |counts: &BTreeMap<String, u64>, kind: &String| counts.get(kind).copied().unwrap_or_default();
    let parts: Vec<String> = kinds
        .into_iter()
        .map(|kind| (kind, of(&coming.recorded, kind), of(&coming.what_if, kind)))
        .filter(|(_, recorded, what_if)| recorded != what_if)
        .map(|(kind, recorded, what_if)| format!("{what_if} {kind} instead of {recorded}"))
        .collect();
    if parts.is_empty() {
        "no difference in the number of changes".to_owned()
    } else {
        parts.join(", ")
    }
}

/// One period with its ends, or the number of several; and how long they are in sum.
fn periods(intervals: &Intervals) -> String {
    let total = duration(intervals.total());
    match intervals.as_slice() {
        [] => "-".to_owned(),
        [one] => format!("{total}: {} to {}", rfc3339(one.from), rfc3339(one.to)),
        several => format!("{total} in {} periods", several.len()),
    }
}

fn total(total: &Total) -> String {
    if total.clients == 0 {
        return "-".to_owned();
    }
    format!(
        "{}, {}",
        output::counted(total.clients, "client"),
        duration(TimeDelta::seconds(total.seconds))
    )
}

/// A duration in whole seconds.
fn duration(span: TimeDelta) -> String {
    format_duration(TimeDelta::seconds(span.num_seconds()))
}

/// What is lost, with a minus sign, and what is gained, with a plus sign.
fn signed(lost: u64, gained: u64) -> String {
    match (lost, gained) {
        (0, 0) => "-".to_owned(),
        (lost, 0) => format!("-{lost}"),
        (0, gained) => format!("+{gained}"),
        (lost, gained) => format!("-{lost} +{gained}"),
    }
}
