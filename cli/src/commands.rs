//! The command lines that messages name: with the options that say which stack is meant, so that they can be pasted.

use std::env;

use crate::args::{Common, STACK, STACK_VARIABLE};

/// The command lines that messages name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands(String);

impl Commands {
    /// With what was given on the command line; what the environment says, it says the next time, too.
    pub fn of(common: &Common) -> Self {
        let from_environment = env::var(STACK_VARIABLE).unwrap_or_else(|_| STACK.into());
        let stack = Some(common.stack_name.given.clone()).filter(|name| *name != from_environment);
        let region = common.region.as_ref().map(ToString::to_string);
        let given = [("--profile", &common.profile), ("--region", &region), ("--stack-name", &stack)];
        let options = given.into_iter().filter_map(|(option, value)| Some((option, value.as_ref()?)));
        Self(options.map(|(option, value)| format!(" {option} {}", quoted(value))).collect())
    }

    /// A command of this program.
    pub fn line(&self, command: &str) -> String {
        format!("`ebs-snapshots{} {command}`", self.0)
    }
}

/// The command line that was given, so that it can be given again.
pub fn same_command() -> String {
    let words = env::args().skip(1).map(|word| format!(" {}", quoted(&word)));
    format!("`ebs-snapshots{}`", words.collect::<String>())
}

/// As a shell reads it as one word.
pub(crate) fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+".contains(c);
    match !value.is_empty() && value.chars().all(plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn what_was_given_is_given_again_and_nothing_else() {
        let of = |given: &[&str]| {
            let arguments = [&["ebs-snapshots", "status"], given].concat();
            Commands::of(&Arguments::parse_from(arguments).common).line("dlq list")
        };
        assert_eq!(of(&[]), "`ebs-snapshots dlq list`");
        assert_eq!(
            of(&["--region", "eu-west-1", "--stack-name", "nightly", "--profile", "our prod's"]),
            "`ebs-snapshots --profile 'our prod'\\''s' --region eu-west-1 --stack-name nightly dlq list`"
        );
    }
}
