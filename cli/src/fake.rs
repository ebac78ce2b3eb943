//! Step Functions and SQS in memory, and what is expected on a screen, for the tests of the commands.

use std::{cell::RefCell, collections::BTreeMap, env, fs};

use domain::{
    error::{ErrorName, Failure},
    operations::{Execution, Letter, MapProgress, Operations},
};

use crate::{show::View, table::Style};

/// Compares an answer at 80 and at 140 columns with files in tests/golden; GOLDEN=write writes them anew, to be read
/// before they are committed.
pub(crate) fn golden(name: &str, view: &impl View) {
    for width in [80, 140] {
        let text = view.text(&Style { width: Some(width), colour: false });
        let path = format!("{}/../tests/golden/{name}-{width}.txt", env!("CARGO_MANIFEST_DIR"));
        if env::var("GOLDEN").is_ok_and(|word| word == "write") {
            fs::write(&path, &text).expect("the file can be written");
        }
        assert_eq!(text, fs::read_to_string(&path).unwrap_or_default(), "{path}");
    }
}

/// Step Functions and SQS in memory.
#[derive(Debug, Default)]
pub(crate) struct FakeOperations {
    /// The newest first.
    pub(crate) executions: Vec<Execution>,
    /// By queue; those that are hidden are not among them.
    pub(crate) letters: RefCell<BTreeMap<String, Vec<Letter>>>,
    /// Those that were read and not shown again.
    pub(crate) hidden: RefCell<Vec<(String, Letter)>>,
    /// Queue and body of what was sent.
    pub(crate) sent: RefCell<Vec<(String, String)>>,
}

impl Operations for FakeOperations {
    async fn executions(&self, _: &str, most: usize) -> Result<Vec<Execution>, Failure> {
        Ok(self.executions.iter().take(most).cloned().collect())
    }

    async fn execution(&self, arn: &str) -> Result<Execution, Failure> {
        let found = self.executions.iter().find(|execution| execution.arn == arn).cloned();
        found.ok_or_else(|| Failure::new(ErrorName::StorageFailed, "DescribeExecution: ExecutionDoesNotExist"))
    }

    async fn start(&self, _: &str, _: &str) -> Result<String, Failure> {
        Err(Failure::new(ErrorName::StorageFailed, "StartExecution: nothing starts in a test"))
    }

    async fn current_state(&self, _: &str) -> Result<Option<String>, Failure> {
        Ok(None)
    }

    async fn progress(&self, _: &str) -> Result<Vec<MapProgress>, Failure> {
        Ok(Vec::new())
    }

    async fn held(&self, queue: &str) -> Result<u64, Failure> {
        let hidden = self.hidden.borrow().iter().filter(|(of, _)| of == queue).count();
        Ok((self.letters.borrow().get(queue).map_or(0, Vec::len) + hidden) as u64)
    }

    async fn letters(&self, queue: &str, _: u32) -> Result<Vec<Letter>, Failure> {
        let letters = self.letters.borrow_mut().remove(queue).unwrap_or_default();
        self.hidden.borrow_mut().extend(letters.iter().map(|letter| (queue.to_owned(), letter.clone())));
        Ok(letters)
    }

    async fn show_again(&self, queue: &str, letter: &Letter) -> Result<(), Failure> {
        self.hidden.borrow_mut().retain(|(_, hidden)| hidden != letter);
        self.letters.borrow_mut().entry(queue.to_owned()).or_default().push(letter.clone());
        Ok(())
    }

    async fn delete(&self, _: &str, letter: &Letter) -> Result<(), Failure> {
        self.hidden.borrow_mut().retain(|(_, hidden)| hidden != letter);
        Ok(())
    }

    async fn send(&self, queue: &str, body: &str) -> Result<(), Failure> {
        self.sent.borrow_mut().push((queue.to_owned(), body.to_owned()));
        Ok(())
    }
}
