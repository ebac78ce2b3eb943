use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    error::{ErrorName, Failure},
    ports::{DeadLetter, DeadLetters, Executions, MapRun, Notifications, Storage, WorkQueue},
};

/// The report bucket in memory.
#[derive(Debug, Default)]
pub struct FakeStorage(pub RefCell<BTreeMap<String, String>>);

impl Storage for FakeStorage {
    async fn write(&self, key: &str, body: String) -> Result<(), Failure> {
        self.0.borrow_mut().insert(key.to_owned(), body);
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Option<String>, Failure> {
        Ok(self.0.borrow().get(key).cloned())
    }

    async fn remove(&self, key: &str) -> Result<(), Failure> {
        self.0.borrow_mut().remove(key);
        Ok(())
    }

    fn bucket(&self) -> &str {
        "reports"
    }
}

/// Executions and notifications in memory.
#[derive(Debug, Default)]
pub struct FakeServices {
    /// What `map_runs` answers.
    pub map_runs: Vec<MapRun>,
    /// Whether Step Functions answers nothing.
    pub executions_are_down: bool,
    /// What was sent: subject and message.
    pub sent: RefCell<Vec<(String, String)>>,
    /// Whether the topic refuses everything.
    pub topic_is_down: bool,
    pub letters: RefCell<Vec<DeadLetter>>,
    pub put_back: RefCell<Vec<DeadLetter>>,
}

impl DeadLetters for FakeServices {
    async fn letters(&self, queue: WorkQueue) -> Result<Vec<DeadLetter>, Failure> {
        Ok(self.letters.borrow().iter().filter(|letter| letter.queue == queue).cloned().collect())
    }

    async fn delete_letter(&self, letter: &DeadLetter) -> Result<(), Failure> {
        self.letters.borrow_mut().retain(|other| other != letter);
        Ok(())
    }

    async fn put_back(&self, letter: &DeadLetter) -> Result<(), Failure> {
        self.put_back.borrow_mut().push(letter.clone());
        Ok(())
    }
}

impl Executions for FakeServices {
    async fn map_runs(&self, _execution: &str) -> Result<Vec<MapRun>, Failure> {
        if self.executions_are_down {
            return Err(Failure::new(ErrorName::StorageFailed, "ListMapRuns: no answer, as the test asked"));
        }
        Ok(self.map_runs.clone())
    }
}

impl Notifications for FakeServices {
    async fn notify(&self, subject: &str, message: &str) -> Result<(), Failure> {
        if self.topic_is_down {
            return Err(Failure::new(ErrorName::StorageFailed, "the topic is down, as the test asked"));
        }
        self.sent.borrow_mut().push((subject.to_owned(), message.to_owned()));
        Ok(())
    }
}
