//! Calendar months, in UTC.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Months, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use super::intervals::Interval;

/// A calendar month, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    first: NaiveDate,
}

/// Text that is not a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a month such as 2026-10")]
pub struct MonthError;

impl Month {
    #[must_use]
    pub fn of(moment: DateTime<Utc>) -> Self {
        let day = moment.date_naive();
        Self {
            first: day.with_day(1).unwrap_or(day),
        }
    }

    /// The beginning of the first day.
    #[must_use]
    pub fn start(self) -> DateTime<Utc> {
        self.first.and_time(NaiveTime::MIN).and_utc()
    }

    /// The beginning of the next month.
    #[must_use]
    pub fn end(self) -> DateTime<Utc> {
        self.next().start()
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self {
            first: self.first + Months::new(1),
        }
    }

    #[must_use]
    pub fn previous(self) -> Self {
        Self {
            first: self.first - Months::new(1),
        }
    }

    /// A day of the month. None: it has fewer.
    #[must_use]
    pub fn day(self, number: u32) -> Option<NaiveDate> {
        self.first.with_day(number)
    }

    #[must_use]
    pub fn bounds(self) -> Interval {
        Interval {
            from: self.start(),
            to: self.end(),
        }
    }

    /// The number that stands for the month in a table: 202610 for October 2026.
    #[must_use]
    pub fn number(self) -> i32 {
        self.first.year() * 100 + self.first.month().cast_signed()
    }

    /// The month of a number in a table.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        let (year, month) = (number.div_euclid(100), number.rem_euclid(100));
        let first = NaiveDate::from_ymd_opt(year, month.cast_unsigned(), 1)?;
        Some(Self { first })
    }
}

impl FromStr for Month {
    type Err = MonthError;

    fn from_str(text: &str) -> Result<Self, MonthError> {
        let (year, month) = text.split_once('-').ok_or(MonthError)?;
        let number = |digits: &str, length: usize| {
            let is_number = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number
                .then(|| digits.parse::<i32>().ok())
                .flatten()
                .ok_or(MonthError)
        };
        Self::from_number(number(year, 4)? * 100 + number(month, 2)?).ok_or(MonthError)
    }
}

impl TryFrom<String> for Month {
    type Error = MonthError;

    fn try_from(text: String) -> Result<Self, MonthError> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.first.year(), self.first.month())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_reads_back_from_its_text_and_its_number() {
        for (text, number, next) in [
            ("2026-10", 202_610, "2026-11"),
            ("2026-12", 202_612, "2027-01"),
            ("0999-02", 99_902, "0999-03"),
        ] {
            let given = month(text);
            assert_eq!((given.to_string(), given.number()), (text.to_owned(), number));
            assert_eq!(Month::from_number(number), Some(given));
            assert_eq!(given.next(), month(next));
            assert_eq!(Month::of(given.start()), given);
            assert_eq!(Month::of(given.end()), month(next));
        }
        for wrong in [
            "2026-13",
            "2026-00",
            "2026-1",
            "26-10",
            "2026-10-01",
            "+026-10",
            "October",
            "",
        ] {
            assert_eq!(wrong.parse::<Month>(), Err(MonthError), "{wrong}");
        }
    }
}
