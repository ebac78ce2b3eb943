use chrono::{DateTime, Utc};
use domain::{error::cut, operations::Operations};
use serde::Serialize;

use super::{
    held::{choose, hidden_words, queues, read, short, show_again},
    letter::Shown,
};
use crate::{
    args::{self, Queue},
    commands::Commands,
    context::Context,
    show::{View, age, counted, moment, plain},
    table::{Style, Tone, cell, table, toned},
    trouble::{Code, Trouble},
};

/// The answer of `dlq list`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct List {
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The letters, the oldest first.
    pub letters: Vec<Shown>,
    /// Letters that somebody else reads at this moment; about.
    pub hidden: u64,
    /// How commands are named.
    #[serde(skip)]
    pub commands: Commands,
}

/// The answer of `dlq show`.
#[derive(Clone, Debug, Serialize)]
pub struct One {
    /// When it was looked.
    pub now: DateTime<Utc>,
    /// The letter.
    pub letter: Shown,
}

/// Looks at the letters of one queue, or of all.
pub async fn list<E, S, O: Operations>(context: &Context<'_, E, S, O>, queue: Option<Queue>) -> Result<List, Trouble> {
    let Context { operations, stack, now, progress, .. } = context;
    progress.say("dead letters");
    let queues = queues(stack, queue);
    let (held, hidden) = read(*operations, stack, &queues).await?;
    show_again(*operations, stack, &held).await?;
    let letters = held.iter().map(|held| Shown::of(held, &stack.commands)).collect();
    Ok(List { now: *now, letters, hidden, commands: stack.commands.clone() })
}

/// Looks at one letter.
pub async fn show<E, S, O: Operations>(context: &Context<'_, E, S, O>, id: &str) -> Result<One, Trouble> {
    let Context { operations, stack, now, progress, .. } = context;
    progress.say("dead letters");
    let (held, _) = read(*operations, stack, &queues(stack, None)).await?;
    show_again(*operations, stack, &held).await?;
    let letters = args::Letters { ids: vec![id.to_owned()], queue: None, all: false };
    let (chosen, _) = choose(held, &letters, &stack.commands)?;
    Ok(One { now: *now, letter: Shown::of(&chosen[0], &stack.commands) })
}

impl View for List {
    const COMMAND: &'static str = "dlq list";

    fn code(&self) -> Code {
        Code::owed_if(!self.letters.is_empty() || self.hidden > 0)
    }

    fn text(&self, style: &Style) -> String {
        let mut text = match self.letters.len() {
            0 if self.hidden > 0 => String::new(),
            0 => "no dead letters\n".to_owned(),
            count => format!("{}\n", counted(count, "dead letter", "dead letters")),
        };
        let row = |one: &Shown| {
            let mut row = vec![
                cell(short(&one.id)),
                cell(one.queue.to_string()),
                cell(age(self.now - one.sent)),
                toned(plain(&one.error), Tone::Bad),
                cell(plain(&one.about_words())),
            ];
            if style.is_wide() {
                row.push(cell(plain(&cut(&one.cause, 120))));
            }
            row
        };
        let heads: &[&str] = match style.is_wide() {
            true => &["id", "queue", "age", "error", "about", "cause"],
            false => &["id", "queue", "age", "error", "about"],
        };
        text.push_str(&table(style, heads, self.letters.iter().map(row).collect()));
        if let [first, more @ ..] = &self.letters[..] {
            let (show, of) = (self.commands.line(&format!("dlq show {}", short(&first.id))), ["", " of the first one"]);
            let line = format!("{show} says{} why it failed, and what to do.", of[usize::from(!more.is_empty())]);
            text.push_str(&format!("\n{}\n", style.wrapped(&line, 0)));
        }
        text.push_str(&hidden_words(self.hidden));
        text
    }
}

impl View for One {
    const COMMAND: &'static str = "dlq show";

    fn code(&self) -> Code {
        Code::Owed
    }

    fn text(&self, style: &Style) -> String {
        let letter = &self.letter;
        let mut text = format!("{}\n", letter.id);
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("  {name:<11} {}\n", style.wrapped(&plain(&value), 14)));
        };
        line("queue", letter.queue.to_string());
        line("error", letter.error.clone());
        line("cause", letter.cause.clone());
        line("age", format!("{}, since {}", age(self.now - letter.sent), moment(letter.sent)));
        for (name, value) in &letter.about {
            line(&name.to_lowercase(), value.clone());
        }
        line("what to do", letter.what_to_do.clone());
        let task = serde_json::to_string_pretty(&letter.task).unwrap_or_default();
        text.push_str("  task\n");
        task.lines().for_each(|line| text.push_str(&format!("    {}\n", plain(line))));
        text
    }
}
