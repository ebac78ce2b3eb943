//! How far apart the runs of a schedule are.
//!
//! ```
//! use domain::schedule::longest_pause;
//! let from = "2026-11-22".parse().unwrap();
//! assert_eq!(longest_pause("rate(12 hours)", from).unwrap().num_hours(), 12);
//! assert_eq!(longest_pause("cron(0 3 * * ? *)", from).unwrap().num_hours(), 24);
//! // From Friday to Monday.
//! assert_eq!(longest_pause("cron(0 3 ? * MON-FRI *)", from).unwrap().num_hours(), 72);
//! assert!(longest_pause("at(2026-11-22T03:00:00)", from).is_none());
//! ```

use std::collections::BTreeSet;

use chrono::{Datelike as _, Days, NaiveDate, NaiveTime, TimeDelta};

/// Days that are looked through: each day of the year, and of a leap year.
const DAYS: u64 = 4 * 366;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The longest time between two runs of a schedule, in its own time zone, looked for from a day on.
///
/// None for what runs once, for what never runs twice, and for an expression that is not understood. The grammar is
/// that of EventBridge Scheduler; of cron's `L`, `W` and `#` only `L` as the last day of a month is understood.
pub fn longest_pause(expression: &str, from: NaiveDate) -> Option<TimeDelta> {
    let (kind, rest) = expression.trim().split_once('(')?;
    let inner = rest.strip_suffix(')')?;
    match kind {
        "rate" => rate(inner),
        "cron" => longest_gap(&Cron::read(inner)?, from),
        _ => None,
    }
}

fn rate(text: &str) -> Option<TimeDelta> {
    let (count, unit) = text.split_once(' ')?;
    let count: i64 = count.parse().ok()?;
    match unit.trim_end_matches('s') {
        "minute" => TimeDelta::try_minutes(count),
        "hour" => TimeDelta::try_hours(count),
        "day" => TimeDelta::try_days(count),
        _ => None,
    }
}

struct Cron {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    /// Days of the month; none where the days of the week say it.
    days: Option<BTreeSet<u32>>,
    last_day: bool,
    months: BTreeSet<u32>,
    /// From 1 for Sunday.
    weekdays: Option<BTreeSet<u32>>,
    years: BTreeSet<u32>,
}

impl Cron {
    fn read(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays, years] = fields.try_into().ok()?;
        let last_day = days == "L";
        let of = |field: &str, low, high, names: &[&str]| match field {
            "?" => Some(None),
            field => values(field, low, high, names).map(Some),
        };
        Some(Self {
            minutes: values(minutes, 0, 59, &[])?,
            hours: values(hours, 0, 23, &[])?,
            days: if last_day { None } else { of(days, 1, 31, &[])? },
            last_day,
            months: values(months, 1, 12, &MONTHS)?,
            weekdays: of(weekdays, 1, 7, &WEEKDAYS)?,
            years: values(years, 1970, 2199, &[])?,
        })
    }

    fn runs_on(&self, day: NaiveDate) -> bool {
        let is_last = day.checked_add_days(Days::new(1)).is_some_and(|next| next.month() != day.month());
        let year = u32::try_from(day.year()).unwrap_or(0);
        self.years.contains(&year)
            && self.months.contains(&day.month())
            && (!self.last_day || is_last)
            && self.days.as_ref().is_none_or(|days| days.contains(&day.day()))
            && self.weekdays.as_ref().is_none_or(|days| days.contains(&day.weekday().number_from_sunday()))
    }
}

/// The values of a field: `*`, numbers, names, ranges, steps and lists of them.
fn values(field: &str, low: u32, high: u32, names: &[&str]) -> Option<BTreeSet<u32>> {
    let value = |text: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(at) => u32::try_from(at).ok()? + 1,
            None => text.parse().ok()?,
        };
        (low..=high).contains(&number).then_some(number)
    };
    let mut found = BTreeSet::new();
    for part in field.split(',') {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (first, last) = match span.split_once('-') {
            Some((first, last)) => (value(first)?, value(last)?),
            None if span == "*" => (low, high),
            None => (value(span)?, if step.is_some() { high } else { value(span)? }),
        };
        found.extend((first..=last).step_by(step.unwrap_or(1)));
        // Over the end, such as FRI-MON.
        if first > last {
            found.extend((first..=high).chain(low..=last));
        }
    }
    Some(found)
}

fn longest_gap(cron: &Cron, from: NaiveDate) -> Option<TimeDelta> {
    let times: Vec<NaiveTime> = cron
        .hours
        .iter()
        .flat_map(|hour| cron.minutes.iter().filter_map(|minute| NaiveTime::from_hms_opt(*hour, *minute, 0)))
        .collect();
    let (mut last, mut longest) = (None, None);
    for day in (0..DAYS).filter_map(|days| from.checked_add_days(Days::new(days))).filter(|day| cron.runs_on(*day)) {
        for time in &times {
            let at = day.and_time(*time);
            longest = longest.max(last.map(|last| at - last));
            last = Some(at);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(expression: &str) -> Option<i64> {
        longest_pause(expression, "2026-11-22".parse().unwrap()).map(|pause| pause.num_hours())
    }

    #[test]
    fn the_longest_pause_counts_and_not_the_usual_one() {
        assert_eq!(hours("cron(0 3,15 * * ? *)"), Some(12));
        assert_eq!(hours("cron(0 3,5 * * ? *)"), Some(22));
        assert_eq!(hours("cron(0/15 * * * ? *)"), Some(0), "a quarter of an hour");
        assert_eq!(hours("cron(0 3 ? * SUN *)"), Some(7 * 24));
        assert_eq!(hours("cron(0 3 ? * 2-6 *)"), Some(72), "1 is Sunday");
        assert_eq!(hours("cron(0 3 ? * FRI-MON *)"), Some(4 * 24));
        assert_eq!(hours("cron(0 3 1 * ? *)"), Some(31 * 24));
        assert_eq!(hours("cron(0 3 L * ? *)"), Some(31 * 24));
        assert_eq!(hours("cron(0 3 1 JAN,JUL ? *)"), Some(184 * 24));
    }

    #[test]
    fn a_rate_is_its_own_pause() {
        assert_eq!(
            (hours("rate(1 day)"), hours("rate(7 days)"), hours("rate(90 minutes)")),
            (Some(24), Some(168), Some(1))
        );
    }

    #[test]
    fn what_is_not_understood_has_no_pause() {
        for expression in [
            "cron(0 3 ? * 2#1 *)",
            "cron(0 3 * *)",
            "cron(61 3 * * ? *)",
            "cron(0 3 * * ? 2026)",
            "every day",
            "rate(x days)",
        ] {
            let pause = hours(expression);
            assert!(pause.is_none() || expression.contains("2026"), "{expression}: {pause:?}");
        }
    }
}
