//! `restore`: brings volumes, or an instance, back from their snapshots or copies, in one region, without the stack.
//!
//! The plan is shown first, and what keeps it from being carried out. Then somebody agrees, and it is carried out step by
//! step; [`domain::restore`] decides each. Whoever runs the same command again goes on where it was.

mod interrupt;
mod request;
mod text;
mod words;

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    time::Duration,
};

use chrono::{DateTime, Utc};
use domain::{
    error::{ErrorName, Failure},
    ids::{Region, VolumeId},
    restore::{
        carry_out::{self, Memory},
        check::{self, Problem},
        identity::Trace,
        look::{self, Prepared},
        plan::Plan,
        ports::Restoring,
        progress::{Made, Step, Waiting},
        request::Action,
    },
};
use serde::Serialize;

use crate::{
    args,
    commands::same_command,
    progress::Progress,
    show::View,
    table::{Style, Tone},
    trouble::{Code, Trouble},
};

/// How a restore ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// `--dry-run`: nothing keeps it from being done.
    Planned,
    /// A key cannot be used, or a permission is missing: nothing was done.
    Refused,
    /// Nobody agreed: nothing was done.
    Declined,
    /// It is done.
    Done,
    /// It was done before, by this plan.
    DoneBefore,
    /// It was begun, and could not be finished.
    Unfinished,
}

/// The answer of `restore`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Where.
    pub region: Region,
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// How it ended.
    pub outcome: Outcome,
    /// What was to be done; none where it was done before.
    pub plan: Option<Plan>,
    /// What stands in the way, or may.
    pub problems: Vec<Problem>,
    /// What was made, also where it could not be finished.
    pub made: Option<Made>,
    /// What an earlier restore has made, where it was done before.
    pub before: Option<Before>,
    /// Why it could not be finished; the same command goes on.
    pub failure: Option<Failure>,
}

/// What an earlier restore has made.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Before {
    /// Its plan's id.
    pub plan: String,
    /// When it was finished.
    pub finished: Option<String>,
    /// The volumes that still exist.
    pub volumes: Vec<VolumeId>,
    /// The images that still exist.
    pub images: Vec<String>,
}

/// Seconds between two looks at something that has only begun to be waited for. Most is done soon, and who waits looks on.
const FIRST_LOOKS: [u32; 3] = [1, 1, 2];

/// Where and how it is shown.
pub struct Shown<'a> {
    /// What is waited for at this moment.
    pub progress: &'a Progress,
    /// How tables are drawn.
    pub style: &'a Style,
    /// Whether it is told line by line; else only the end is, as JSON.
    pub as_text: bool,
    /// Writes lines where the answer goes.
    pub write: &'a dyn Fn(&str),
}

/// Restores, once somebody has agreed.
pub async fn restore<P: Restoring>(
    port: &P,
    region: &Region,
    asked: &args::Restore,
    shown: &Shown<'_>,
) -> Result<Restored, Trouble> {
    let nobody_to_ask = !asked.yes && !asked.dry_run && !io::stdin().is_terminal();
    if nobody_to_ask {
        let why =
            "nobody can be asked, since standard input is no terminal: say --yes, or --dry-run for the plan alone";
        return Err(Trouble::Usage(why.into()));
    }
    let (request, now) = (request::request(asked, region.clone())?, Utc::now());
    shown.progress.say(format!("what there is of {} in {region}", request.target));
    let mut answer = Restored {
        region: region.clone(),
        now,
        outcome: Outcome::Planned,
        plan: None,
        problems: Vec::new(),
        made: None,
        before: None,
        failure: None,
    };
    let plan = match look::prepare(port, &request, now).await.map_err(trouble)? {
        Prepared::Plan(plan) => *plan,
        Prepared::Done(Trace { plan, finished, volumes, images, .. }) => {
            answer.before = Some(Before { plan, finished, volumes, images });
            answer.outcome = Outcome::DoneBefore;
            return Ok(answer);
        }
    };
    shown.progress.say("keys and permissions");
    let problems = check::first(port, &plan).await.map_err(trouble)?;
    shown.progress.end();
    let words = format!("{}{}", text::plan(&plan, shown.style), text::problems(&problems, shown.style));
    if shown.as_text {
        (shown.write)(&words);
    }
    let is_blocked = problems.iter().any(Problem::blocks);
    answer.problems = problems;
    if is_blocked || asked.dry_run {
        answer.outcome = if is_blocked { Outcome::Refused } else { Outcome::Planned };
    } else if !asked.yes && !is_agreed(shown, &words) {
        answer.outcome = Outcome::Declined;
    } else {
        interrupt::say_how_to_go_on(same_command());
        match carry_out_steps(port, &plan, shown).await {
            Ok(made) => (answer.outcome, answer.made) = (Outcome::Done, Some(made)),
            Err(failure) => {
                (answer.outcome, answer.failure) = (Outcome::Unfinished, Some(failure));
                answer.made = carry_out::made_so_far(port, &plan).await;
            }
        }
    }
    answer.plan = Some(plan);
    Ok(answer)
}

/// What names something that is not there, or cannot be, is a matter of the command line.
fn trouble(failure: Failure) -> Trouble {
    use ErrorName::*;
    match failure.name {
        InvalidInput | SnapshotNotFound | VolumeNotFound | InstanceNotFound => Trouble::Usage(failure.cause),
        _ => Trouble::Aws(failure.to_string()),
    }
}

fn is_agreed(shown: &Shown<'_>, words: &str) -> bool {
    if !shown.as_text {
        eprint!("{words}");
    }
    eprint!("Restore? [y/N] ");
    let mut answer = String::new();
    // No answer is no.
    _ = io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

async fn carry_out_steps<P: Restoring>(port: &P, plan: &Plan, shown: &Shown<'_>) -> Result<Made, Failure> {
    let (progress, mut memory) = (Progress::new(), Memory::default());
    let (mut last, mut looks) = (None, 0);
    loop {
        let mut tell = |event| {
            if shown.as_text {
                progress.above(|| (shown.write)(&format!("{}\n", words::event(&event))));
            }
        };
        match carry_out::step(port, plan, &mut memory, Utc::now(), &mut tell).await? {
            Step::Finished(made) => return Ok(made),
            Step::Next => {}
            Step::Wait { seconds, why } => {
                let (words, percent) = words::waiting(&why);
                progress.share(words, percent);
                let what = std::mem::discriminant(&why);
                looks = if last == Some(what) { looks + 1 } else { 0 };
                last = Some(what);
                let seconds =
                    if is_soon(&why) { seconds.min(*FIRST_LOOKS.get(looks).unwrap_or(&seconds)) } else { seconds };
                tokio::time::sleep(Duration::from_secs(seconds.into())).await;
            }
        }
    }
}

/// Whether what is waited for goes its way. What EC2 refused, or does not show, is given all its time.
fn is_soon(why: &Waiting) -> bool {
    !matches!(why, Waiting::Ec2 { .. } | Waiting::RateOfRegion | Waiting::ToBeSeen(_))
}

/// Whether it lacks volumes that were asked for. A root volume is one, whatever else the instance had.
fn is_less_than_all(plan: &Plan) -> bool {
    !plan.chosen.lacking.is_empty() && !matches!(plan.action, Action::ReplaceRoot(_))
}

impl View for Restored {
    const COMMAND: &'static str = "restore";

    fn code(&self) -> Code {
        match (self.outcome, &self.failure) {
            (Outcome::Refused, _) => Code::Owed,
            (Outcome::Unfinished, Some(failure)) if failure.name == ErrorName::Ec2Unavailable => Code::Aws,
            (Outcome::Unfinished, _) => Code::Owed,
            // Done, and less than the instance had.
            (Outcome::Done, _) if self.plan.as_ref().is_some_and(is_less_than_all) => Code::Owed,
            _ => Code::Well,
        }
    }

    fn text(&self, style: &Style) -> String {
        match (self.outcome, &self.plan, &self.made, &self.before, &self.failure) {
            (Outcome::Planned | Outcome::Declined, ..) => "Nothing was done.\n".into(),
            (Outcome::Refused, ..) => format!("{}\n", style.paint("Nothing was done.", Tone::Bad)),
            (Outcome::Done, Some(plan), Some(made), ..) => text::made(plan, made, style),
            (_, _, _, Some(before), _) => text::before(before, style),
            (_, Some(plan), made, _, Some(failure)) => text::failure(failure, plan, made.as_ref(), style),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
