//! `dlq drop`: deletes letters for good.

use std::{
    collections::BTreeSet,
    io::{self, BufRead as _, IsTerminal as _},
};

use domain::operations::Operations;
use serde::Serialize;

use super::{
    held::{Held, Taken, hidden_words, short, show_again, take},
    letter::Shown,
};
use crate::{
    args,
    commands::Commands,
    context::Context,
    show::{View, counted, plain},
    table::Style,
    trouble::{Code, Trouble},
};

/// The answer of `dlq drop`.
#[derive(Clone, Debug, Serialize)]
pub struct Dropped {
    /// Those that are deleted.
    pub dropped: Vec<Shown>,
    /// Those that could not be deleted, by id, and why.
    pub failed: Vec<(String, String)>,
    /// Letters that were meant, and that somebody else reads at this moment; about.
    pub hidden: u64,
}

/// Deletes letters, once somebody has agreed.
pub async fn drop_letters<E, S, O: Operations>(
    context: &Context<'_, E, S, O>,
    asked: &args::Letters,
    yes: bool,
) -> Result<Dropped, Trouble> {
    if !yes && !io::stdin().is_terminal() {
        return Err(Trouble::Usage("nobody can be asked, since standard input is no terminal: say --yes".into()));
    }
    let Context { operations, stack, progress, .. } = context;
    progress.say("dead letters");
    let Taken { mut chosen, hidden, .. } = take(*operations, stack, asked).await?;
    progress.end();
    let mut end = Dropped { dropped: Vec::new(), failed: Vec::new(), hidden };
    if !yes && !chosen.is_empty() {
        show_again(*operations, stack, &chosen).await?;
        if !is_agreed(&chosen) {
            return Ok(end);
        }
        // An answer may take long, and a letter that somebody else has read since is deleted only by its new handle.
        let agreed: BTreeSet<&str> = chosen.iter().map(|held| held.letter.id.as_str()).collect();
        let Taken { chosen: found, hidden, .. } = take(*operations, stack, asked).await?;
        end.hidden = hidden;
        let (now, others): (Vec<Held>, Vec<Held>) =
            found.into_iter().partition(|held| agreed.contains(held.letter.id.as_str()));
        show_again(*operations, stack, &others).await?;
        chosen = now;
    }
    for held in &chosen {
        match operations.delete(stack.dead_letter_queue(held.queue)?, &held.letter).await {
            Ok(()) => end.dropped.push(Shown::of(held, &stack.commands)),
            Err(failure) => end.failed.push((held.letter.id.clone(), failure.cause)),
        }
    }
    Ok(end)
}

fn is_agreed(chosen: &[Held]) -> bool {
    for held in chosen {
        let shown = Shown::of(held, &Commands::default());
        let (id, error, about) = (short(&shown.id), plain(&shown.error), plain(&shown.about_words()));
        eprintln!("  {id} {}: {error}, {about}", held.queue);
    }
    eprint!("Delete {} for good? [y/N] ", counted(chosen.len(), "letter", "letters"));
    let mut answer = String::new();
    // No answer is no.
    _ = io::stdin().lock().read_line(&mut answer);
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

impl View for Dropped {
    const COMMAND: &'static str = "dlq drop";

    fn code(&self) -> Code {
        if self.failed.is_empty() { Code::owed_if(self.hidden > 0) } else { Code::Aws }
    }

    fn text(&self, _: &Style) -> String {
        let mut text = format!("{} deleted\n", counted(self.dropped.len(), "letter", "letters"));
        for (id, why) in &self.failed {
            text.push_str(&format!("{id} could not be deleted: {}\n", plain(why)));
        }
        text.push_str(&hidden_words(self.hidden));
        text
    }
}
