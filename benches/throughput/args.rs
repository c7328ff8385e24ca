//! The command line: `cargo bench` passes `--bench`, and then what stands after `--` is for us. `cargo test` passes
//! the same words to every test binary, so those of libtest mean here what they can mean.

use std::path::PathBuf;

use crate::scale::{FULL, QUICK, SMOKE, Scale};
use crate::sections::Section;

/// What the smoke run is called where tests are listed and chosen.
const SMOKE_TEST: &str = "smoke";
/// Options of libtest that stand before a value.
const WITH_VALUE: [&str; 7] = [
    "--test-threads",
    "--skip",
    "--format",
    "--color",
    "--logfile",
    "--shuffle-seed",
    "-Z",
];

pub enum Wanted {
    Run(Box<Args>),
    /// Nothing is to be run, and this is to be said.
    Nothing(String),
}

#[derive(Debug)]
pub struct Args {
    pub scale: Scale,
    /// All, or those that were asked for.
    pub sections: Vec<Section>,
    /// Whether they were asked for by name.
    pub chosen: bool,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    /// Instead of the scale's.
    pub rounds: Option<usize>,
}

impl Args {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    /// In a benchmark, when a word is unknown. In a test run every unknown word is somebody else's.
    pub fn read(words: impl Iterator<Item = String>) -> Result<Wanted, String> {
        let words: Vec<String> = words.collect();
        if words.iter().any(|word| word == "--bench") {
            Self::of_bench(words.into_iter().filter(|word| word != "--bench"))
                .map(|args| Wanted::Run(Box::new(args)))
        } else {
            Ok(Self::of_test(words.into_iter()))
        }
    }

    pub fn is_smoke(&self) -> bool {
        self.scale.name == SMOKE.name
    }

    fn on(scale: Scale) -> Self {
        Self {
            scale,
            sections: Section::ALL.into(),
            chosen: false,
            json: None,
            svg: None,
            markdown: None,
            rounds: None,
        }
    }

    fn of_bench(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self::on(FULL);
        let mut chosen = Vec::new();
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
                "--json" => args.json = Some(value()?.into()),
                "--svg" => args.svg = Some(value()?.into()),
                "--markdown" => args.markdown = Some(value()?.into()),
                name => match Section::from_name(name) {
                    Some(section) => chosen.push(section),
                    None => {
                        return Err(format!(
                            "`{name}` is unknown. There are --quick, --rounds N, --json PATH, --svg PATH, \
                             --markdown PATH, and the sections {}",
                            Section::names()
                        ));
                    }
                },
            }
        }
        if chosen.is_empty() {
            args.sections.retain(|section| !section.is_long());
        } else {
            args.sections = chosen;
            args.chosen = true;
        }
        Ok(args)
    }

    fn of_test(mut words: impl Iterator<Item = String>) -> Wanted {
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
            return Wanted::Nothing(listed.into());
        }
        let nothing = |why: &str| {
            Wanted::Nothing(format!(
                "throughput: nothing is run: {why}; there are `{SMOKE_TEST}` and the sections {}",
                Section::names()
            ))
        };
        if ignored || skipped {
            return nothing("the smoke run is not what was asked for");
        }
        let chosen: Vec<Section> = filters
            .iter()
            .filter_map(|name| Section::from_name(name))
            .collect();
        let all = filters.is_empty() || filters.iter().any(|filter| SMOKE_TEST.contains(filter.as_str()));
        if !all && chosen.is_empty() {
            return nothing(&format!("`{}` is none of its parts", filters.join("`, `")));
        }
        let mut args = Self::on(SMOKE);
        if !all {
            args.sections = chosen;
            args.chosen = true;
        }
        Wanted::Run(Box::new(args))
    }
}
