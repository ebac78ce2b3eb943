//! The command line.

mod restore;

use std::{fmt, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use domain::ids::{InstanceId, Region, VolumeId};

pub use restore::{Ending, Restore, Target};

const EXAMPLES: &str = "\
Examples:
  ebs-snapshots status                                  is everything covered, and how old is it?
  ebs-snapshots --profile prod --region eu-west-1 plan  what would a run do now?
  ebs-snapshots run --watch                             a full run, followed to its end
  ebs-snapshots dlq list                                what failed for good, and what to do about it
  ebs-snapshots snapshots --instance i-0123456789abcdef0
  ebs-snapshots restore --instance i-0123456789abcdef0 --dry-run
  ebs-snapshots status --output json | jq '.data.volumes[] | select(.state != \"covered\")'

Exit codes:
  0  all is well
  1  something is owed, overdue, or failed
  2  the command line cannot be used, or names what does not exist
  3  AWS refused or could not be reached, at least in part: the answer is not whole";

/// The name of the stack, where nothing else is said.
pub const STACK: &str = "ebs-snapshots";
/// The variable that says another one.
pub const STACK_VARIABLE: &str = "EBS_SNAPSHOTS_STACK";

/// What is backed up, what a run would do, what went wrong, and what to do now.
#[derive(Debug, Parser)]
#[command(name = "ebs-snapshots", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Arguments {
    /// What all commands have.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands have.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Profile of the AWS configuration; else AWS_PROFILE, else the ordinary credentials
    #[arg(long, global = true, display_order = 900, value_name = "NAME")]
    pub profile: Option<String>,
    /// Home region of the stack, or the region to restore in; else AWS_REGION, else the profile's
    #[arg(long, global = true, display_order = 900, value_name = "REGION")]
    pub region: Option<Region>,
    /// Name of the stack, or its ARN
    #[arg(long, global = true, display_order = 900, value_name = "NAME", env = STACK_VARIABLE, default_value = STACK)]
    pub stack_name: StackName,
    /// A table for people, or JSON for scripts
    #[arg(long, global = true, display_order = 900, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Which stack is meant: its name, or its ARN, which says the region, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackName {
    /// As it was given.
    pub given: String,
    /// The name.
    pub name: String,
    /// The region that an ARN says.
    pub region: Option<Region>,
}

impl FromStr for StackName {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        if !given.starts_with("arn:") {
            return Ok(Self { given: given.into(), name: given.into(), region: None });
        }
        let parts: Vec<&str> = given.splitn(6, ':').collect();
        let refused = || {
            let allowed = "arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/ID";
            format!("{given:?} is not the ARN of a stack: allowed is a name, or {allowed}")
        };
        let [_, _, "cloudformation", region, _, stack] = parts[..] else { return Err(refused()) };
        let name = stack.strip_prefix("stack/").and_then(|rest| rest.split('/').next()).filter(|name| !name.is_empty());
        let (Some(name), Ok(region)) = (name, region.parse()) else { return Err(refused()) };
        Ok(Self { given: given.into(), name: name.into(), region: Some(region) })
    }
}

impl StackName {
    /// Why a stack in another region than the one in use cannot be meant.
    pub fn check(&self, home: &Region) -> Result<(), String> {
        match &self.region {
            Some(region) if region != home => Err(format!(
                "--stack-name is the ARN of a stack in {region}, and the region in use is {home}: say --region {region}"
            )),
            _ => Ok(()),
        }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// How old the newest backup of every protected volume is, here and in each destination, and when one was last
    /// proven; what is not protected
    #[command(
        after_help = "Exit code 1: a backup is missing or overdue, a drill found one bad and no newer one good, \
        nothing of a volume was proven for MaxDaysUnverified, a volume with backups is unprotected, or no full run was \
        complete for MaxHoursWithoutRun."
    )]
    Status,
    /// What a run would do now; it changes nothing
    #[command(
        after_help = "Exit code 1: a copy is owed, a volume with backups is unprotected, or a region's expiry is \
        stopped."
    )]
    Plan,
    /// Start a run
    #[command(after_help = "\
Examples:
  ebs-snapshots run --watch
  ebs-snapshots run --phase copy --phase expire
  ebs-snapshots run --dry-run --watch
  ebs-snapshots run --phase expire --allow-mass-expire eu-west-1

With --watch the exit code is the run's: 0 complete, 1 failed or incomplete, 2 an input that it refused.")]
    Run(Run),
    /// The dead-letter queues: what failed for good
    #[command(subcommand)]
    Dlq(Dlq),
    /// All snapshots and copies of an instance or a volume, in all regions, each with the reason why it is kept or goes
    Snapshots(Snapshots),
    /// Bring volumes, or an instance, back from their snapshots or copies; without the stack and its home region
    #[command(after_help = "\
Examples:
  ebs-snapshots restore --volume vol-0123456789abcdef0 --dry-run
  ebs-snapshots restore --instance i-0123456789abcdef0 --at 2026-11-22 --attach i-0fedcba9876543210
  ebs-snapshots restore --instance i-0123456789abcdef0 --swap
  ebs-snapshots restore --volume vol-0123456789abcdef0 --fast 300
  ebs-snapshots restore --region us-east-1 --instance i-0123456789abcdef0 --register-image

It restores in --region, from the snapshots or copies that are there. It shows what it would do and asks, unless --yes is
said. After Ctrl-C or a crash the same command goes on where it was: nothing is made twice.

Exit code 1: a key cannot be used, a permission is missing, or what was begun could not be finished.")]
    Restore(Box<Restore>),
    /// The last executions: how they ended, and what they made
    #[command(after_help = "Exit code 1: the last one that has ended did not succeed.")]
    Executions {
        /// So many at most
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
        count: u16,
    },
    /// Print the completions of a shell
    #[command(after_help = "\
Examples:
  ebs-snapshots completions bash > ~/.local/share/bash-completion/completions/ebs-snapshots
  ebs-snapshots completions zsh > ~/.zfunc/_ebs-snapshots
  ebs-snapshots completions fish > ~/.config/fish/completions/ebs-snapshots.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// A phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Phase {
    /// Snapshot the tagged instances.
    Snapshot,
    /// Make the copies that are owed.
    Copy,
    /// Delete what has expired.
    Expire,
}

/// What a run is started with.
#[derive(Args, Clone, Debug, Default)]
pub struct Run {
    /// Only this phase; several times for several; else all
    #[arg(long = "phase", value_enum, value_name = "PHASE")]
    pub phases: Vec<Phase>,
    /// Plan everything and act on nothing; the plan stands in the report bucket
    #[arg(long)]
    pub dry_run: bool,
    /// Repeat the run of this time or id, such as 2026-11-22T03:00:00Z or 20261122T030000Z
    #[arg(long, value_name = "TIME")]
    pub scheduled_time: Option<String>,
    /// Delete in this region though it is more than MaxExpirePercent; several times for several
    #[arg(long, value_name = "REGION")]
    pub allow_mass_expire: Vec<Region>,
    /// Follow the run to its end; Ctrl-C ends the watching, and not the run
    #[arg(long)]
    pub watch: bool,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Dlq {
    /// All letters: error, age, what it is about; they are hidden from others for 30 s at most meanwhile
    #[command(after_help = "Exit code 1: there are letters.")]
    List {
        /// Of this queue only
        #[arg(long, value_enum)]
        queue: Option<Queue>,
    },
    /// One letter, whole: cause, task, and what to do
    Show {
        /// Its id as `dlq list` shows it, or the begin of it
        #[arg(value_parser = letter_id)]
        id: String,
    },
    /// Put letters back to be worked on, and say what became of each
    #[command(after_help = "\
Examples:
  ebs-snapshots dlq retry --queue copy
  ebs-snapshots dlq retry 5f3c1b22 9d0e7a41 --timeout 600

Copies are made within the limit of copies in flight. Letters of the expire queue are refused: they act on the day they
were planned and on no other.")]
    Retry {
        /// Which letters, and how long to wait for what becomes of them
        #[command(flatten)]
        letters: Letters,
        /// Seconds to wait for what becomes of them
        #[arg(long, value_name = "SECONDS", default_value_t = 300)]
        timeout: u32,
    },
    /// Delete letters for good
    Drop {
        /// Which letters
        #[command(flatten)]
        letters: Letters,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters are meant.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = true)]
pub struct Letters {
    /// Ids as `dlq list` shows them, or the begin of them
    #[arg(conflicts_with_all = ["queue", "all"], value_parser = letter_id)]
    pub ids: Vec<String>,
    /// All letters of this queue
    #[arg(long, value_enum)]
    pub queue: Option<Queue>,
    /// All letters of all queues
    #[arg(long, conflicts_with = "queue")]
    pub all: bool,
}

/// Characters of an id that are enough to mean a letter; every id begins with none.
const LEAST_OF_AN_ID: usize = 4;

fn letter_id(text: &str) -> Result<String, String> {
    match text.chars().count() >= LEAST_OF_AN_ID {
        true => Ok(text.to_owned()),
        false => Err(format!("say {LEAST_OF_AN_ID} characters of the id at least")),
    }
}

/// A dead-letter queue, by the queue that its letters were in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Queue {
    /// Snapshots of an instance.
    Snapshot,
    /// Scripts before and after snapshots.
    Hook,
    /// Waits until snapshots are completed.
    Wait,
    /// Copies.
    Copy,
    /// Deletions.
    Expire,
    /// Backups that a drill reads; only where the stack has drills.
    Verify,
    /// Events of the schedule that could not start a run.
    Schedule,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// Whose snapshots.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Snapshots {
    /// Of this instance
    #[arg(long, value_name = "ID")]
    pub instance: Option<InstanceId>,
    /// Of this volume
    #[arg(long, value_name = "ID")]
    pub volume: Option<VolumeId>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_named_by_its_name_or_its_arn() {
        let read = |given: &str| given.parse::<StackName>();
        let (name, here) = (read("nightly").unwrap(), "eu-west-1".parse().unwrap());
        assert_eq!((name.name.as_str(), &name.region, name.check(&here)), ("nightly", &None, Ok(())));
        let arn = "arn:aws:cloudformation:eu-west-1:111122223333:stack/nightly/6f1c0a70-0000-11ef";
        let read_arn = read(arn).unwrap();
        assert_eq!((read_arn.name.as_str(), read_arn.given.as_str()), ("nightly", arn));
        assert_eq!(read_arn.check(&here), Ok(()));
        let refused = read_arn.check(&"us-east-1".parse().unwrap()).unwrap_err();
        assert!(
            refused.contains("in eu-west-1") && refused.contains("is us-east-1: say --region eu-west-1"),
            "{refused}"
        );
        for given in ["arn:aws:s3:::bucket", "arn:aws:cloudformation:eu-west-1:1:changeSet/x/1", "arn:"] {
            assert!(read(given).unwrap_err().contains("stack/NAME/ID"), "{given}");
        }
    }

    #[test]
    fn an_arn_that_is_none_of_a_stack_is_refused_before_anything_is_asked() {
        let refused = Arguments::try_parse_from(["ebs-snapshots", "--stack-name", "arn:aws:s3:::b", "status"]);
        assert!(refused.unwrap_err().to_string().contains("allowed is a name, or arn:aws:cloudformation"));
    }
}
