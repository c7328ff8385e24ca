//! The command line. `cargo bench` passes `--bench` and the arguments after `--`. `cargo test` passes the same
//! arguments to every test binary, so the options of libtest are accepted too.

use std::path::PathBuf;

use crate::scale::{FULL, QUICK, SMOKE, Scale};
use crate::sections::Section;

/// The name of the smoke run as a test.
const SMOKE_TEST: &str = "smoke";
/// Options of libtest that take a value.
const WITH_VALUE: [&str; 7] = [
    "--test-threads",
    "--skip",
    "--format",
    "--color",
    "--logfile",
    "--shuffle-seed",
    "-Z",
];

/// What the arguments ask for.
pub enum Action {
    Run(Box<Args>),
    /// Print this text and run nothing.
    Print(String),
}

#[derive(Debug)]
pub struct Args {
    pub scale: Scale,
    pub sections: Vec<Section>,
    /// Whether the sections were named on the command line.
    pub named: bool,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    /// Replaces the number of rounds of the scale.
    pub rounds: Option<usize>,
    /// Settings of PostgreSQL that replace those of the benchmark, as `name=value`.
    pub postgres: Vec<String>,
}

impl Args {
    /// Parses the arguments after the program's name.
    ///
    /// # Errors
    /// In a benchmark run, when an argument is unknown. In a test run an unknown argument is a filter for other tests.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Action, String> {
        let words: Vec<String> = words.collect();
        if words.iter().any(|word| word == "--bench") {
            Self::of_bench(words.into_iter().filter(|word| word != "--bench"))
                .map(|args| Action::Run(Box::new(args)))
        } else {
            Ok(Self::of_test(words.into_iter()))
        }
    }

    pub fn is_smoke(&self) -> bool {
        self.scale.name == SMOKE.name
    }

    fn on(scale: &Scale) -> Self {
        Self {
            scale: *scale,
            sections: Section::ALL.into(),
            named: false,
            json: None,
            svg: None,
            markdown: None,
            rounds: None,
            postgres: Vec::new(),
        }
    }

    fn of_bench(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::on(&FULL);
        let mut named = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--quick" => args.scale = QUICK,
                "--rounds" => {
                    let rounds = value()?;
                    let number = rounds.parse().ok().filter(|rounds| *rounds > 0);
                    args.rounds =
                        Some(number.ok_or_else(|| format!("--rounds {rounds}: not a number above 0"))?);
                }
                "--postgres" => args.postgres.push(value()?),
                "--json" => args.json = Some(value()?.into()),
                "--svg" => args.svg = Some(value()?.into()),
                "--markdown" => args.markdown = Some(value()?.into()),
                name => match Section::from_name(name) {
                    Some(section) => named.push(section),
                    None => {
                        return Err(format!(
                            "unknown argument `{name}`. Valid are --quick, --rounds N, --postgres NAME=VALUE, \
                             --json PATH, --svg PATH, --markdown PATH, and the sections {}",
                            Section::names()
                        ));
                    }
                },
            }
        }
        if named.is_empty() {
            args.sections.retain(|section| !section.is_long());
        } else {
            args.sections = named;
            args.named = true;
        }
        Ok(args)
    }

    fn of_test(mut words: impl Iterator<Item = String>) -> Action {
        let (mut list, mut ignored) = (false, false);
        let mut skipped = Vec::new();
        let mut filters = Vec::new();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => list = true,
                "--ignored" => ignored = true,
                "--skip" => skipped.extend(words.next()),
                option if WITH_VALUE.contains(&option) => drop(words.next()),
                option if option.starts_with('-') => {}
                _ => filters.push(word),
            }
        }
        let skipped = skipped.iter().any(|skip| SMOKE_TEST.contains(skip.as_str()));
        if list {
            let listed = if ignored || skipped { "" } else { "smoke: test" };
            return Action::Print(listed.into());
        }
        let nothing = |why: &str| {
            Action::Print(format!(
                "throughput: nothing to run: {why}. Valid names are `{SMOKE_TEST}` and the sections {}",
                Section::names()
            ))
        };
        if ignored || skipped {
            return nothing("the smoke run is filtered out");
        }
        let named: Vec<Section> = filters
            .iter()
            .filter_map(|name| Section::from_name(name))
            .collect();
        let all = filters.is_empty() || filters.iter().any(|filter| SMOKE_TEST.contains(filter.as_str()));
        if !all && named.is_empty() {
            return nothing(&format!("`{}` names no section", filters.join("`, `")));
        }
        let mut args = Self::on(&SMOKE);
        if !all {
            args.sections = named;
            args.named = true;
        }
        Action::Run(Box::new(args))
    }
}
