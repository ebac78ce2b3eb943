use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use chrono::DateTime;

use crate::{
    error::{ErrorName, Failure},
    ports::{
        Claims, DeadLetter, DeadLetters, Executions, Listed, MapRun, Notifications, StateTime, Storage, Stored,
        WorkQueue, Written,
    },
};

/// The report bucket in memory: its objects, and the keys of those that nobody gets at.
#[derive(Debug, Default)]
pub struct FakeStorage(pub RefCell<BTreeMap<String, String>>, pub RefCell<BTreeSet<String>>);

impl FakeStorage {
    fn reach(&self, key: &str) -> Result<(), Failure> {
        let refused = || Failure::new(ErrorName::StorageFailed, format!("{key}: out of reach, as the test asked"));
        if self.1.borrow().contains(key) { Err(refused()) } else { Ok(()) }
    }
}

impl Storage for FakeStorage {
    async fn write(&self, key: &str, body: String) -> Result<(), Failure> {
        self.reach(key)?;
        self.0.borrow_mut().insert(key.to_owned(), body);
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<Option<String>, Failure> {
        self.reach(key)?;
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

/// The version of an object is its body.
impl Claims for FakeStorage {
    async fn create(&self, key: &str, body: &str) -> Result<Written, Failure> {
        self.reach(key)?;
        if self.0.borrow().contains_key(key) {
            return Ok(Written::Refused);
        }
        self.0.borrow_mut().insert(key.to_owned(), body.to_owned());
        Ok(Written::As(body.to_owned()))
    }

    async fn replace(&self, key: &str, body: &str, version: &str) -> Result<Written, Failure> {
        self.reach(key)?;
        if self.0.borrow().get(key).is_none_or(|held| held != version) {
            return Ok(Written::Refused);
        }
        self.0.borrow_mut().insert(key.to_owned(), body.to_owned());
        Ok(Written::As(body.to_owned()))
    }

    async fn stored(&self, key: &str) -> Result<Option<Stored>, Failure> {
        let body = self.read(key).await?;
        Ok(body.map(|body| Stored { version: body.clone(), body, written: DateTime::UNIX_EPOCH }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        let objects = self.0.borrow();
        let listed = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(listed
            .map(|(key, body)| Listed { key: key.clone(), version: body.clone(), written: DateTime::UNIX_EPOCH })
            .collect())
    }
}

/// Executions and notifications in memory.
#[derive(Debug, Default)]
pub struct FakeServices {
    /// What `map_runs` answers.
    pub map_runs: Vec<MapRun>,
    /// What `state_times` answers.
    pub state_times: Vec<StateTime>,
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

    async fn state_times(&self, _execution: &str, states: &[&str]) -> Result<Vec<StateTime>, Failure> {
        if self.executions_are_down {
            return Err(Failure::new(ErrorName::StorageFailed, "GetExecutionHistory: no answer, as the test asked"));
        }
        Ok(self.state_times.iter().filter(|time| states.contains(&time.state.as_str())).cloned().collect())
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
