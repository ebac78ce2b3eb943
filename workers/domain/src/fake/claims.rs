//! Claims in memory, and whether executions have ended.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    mem::replace,
    task::Poll,
};

use chrono::{DateTime, Utc};

use crate::{
    error::{ErrorName, Failure},
    ports::{Claims, ExecutionState, ExecutionStates, Listed, Stored, Written},
};

/// What happens to the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFault {
    /// It succeeds; the next fault is for the call after it.
    Spared,
    /// Another write is under way: nothing is written.
    Conflict,
    /// It is carried out, its answer is lost, and the SDK's retry is refused.
    Repeated,
    /// It is carried out, and the caller gets an error.
    AnswerLost,
    /// It is refused, and nothing happens.
    Unavailable,
}

/// Lets other tasks run, before and after each call of a fake that is paced.
pub(super) async fn pause(paced: &Cell<bool>) {
    let mut go_on = !paced.get();
    poll_fn(|context| {
        context.waker().wake_by_ref();
        if replace(&mut go_on, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The objects below `claims/` in memory.
#[derive(Debug)]
pub struct FakeClaims {
    /// Bodies, versions and times by key.
    pub objects: RefCell<BTreeMap<String, Stored>>,
    /// The time at which objects are written.
    pub now: Cell<DateTime<Utc>>,
    /// Whether other tasks run before a call is carried out, and before its answer comes.
    pub paced: Cell<bool>,
    /// Every call and its key.
    pub calls: RefCell<Vec<(&'static str, String)>>,
    faults: RefCell<BTreeMap<&'static str, VecDeque<ClaimFault>>>,
    versions: Cell<u32>,
}

impl FakeClaims {
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            objects: RefCell::default(),
            now: Cell::new(now),
            paced: Cell::new(false),
            calls: RefCell::default(),
            faults: RefCell::default(),
            versions: Cell::new(0),
        }
    }

    /// Makes the next `create`, `replace`, `stored` or `list` meet a fault; several faults are met in turn.
    pub fn fail_next(&self, call: &'static str, fault: ClaimFault) {
        self.faults.borrow_mut().entry(call).or_default().push_back(fault);
    }

    pub fn count(&self, call: &str) -> usize {
        self.calls.borrow().iter().filter(|(called, _)| *called == call).count()
    }

    fn enter(&self, call: &'static str, key: &str) -> Result<Option<ClaimFault>, Failure> {
        self.calls.borrow_mut().push((call, key.to_owned()));
        match self.faults.borrow_mut().get_mut(call).and_then(VecDeque::pop_front) {
            Some(ClaimFault::Unavailable) => Err(self.unavailable(key)),
            fault => Ok(fault),
        }
    }

    fn unavailable(&self, key: &str) -> Failure {
        Failure::new(ErrorName::StorageFailed, format!("{key}: as the test asked"))
    }

    fn write(&self, call: &'static str, key: &str, body: &str, holds: bool) -> Result<Written, Failure> {
        let fault = self.enter(call, key)?;
        if fault == Some(ClaimFault::Conflict) {
            return Ok(Written::Conflict);
        }
        if !holds {
            return Ok(Written::Refused);
        }
        self.versions.set(self.versions.get() + 1);
        let version = self.versions.get().to_string();
        let stored = Stored { body: body.to_owned(), version: version.clone(), written: self.now.get() };
        self.objects.borrow_mut().insert(key.to_owned(), stored);
        match fault {
            Some(ClaimFault::Repeated) => Ok(Written::Refused),
            Some(ClaimFault::AnswerLost) => Err(self.unavailable(key)),
            _ => Ok(Written::As(version)),
        }
    }
}

impl Claims for FakeClaims {
    async fn create(&self, key: &str, body: &str) -> Result<Written, Failure> {
        pause(&self.paced).await;
        let absent = !self.objects.borrow().contains_key(key);
        let written = self.write("create", key, body, absent);
        pause(&self.paced).await;
        written
    }

    async fn replace(&self, key: &str, body: &str, version: &str) -> Result<Written, Failure> {
        pause(&self.paced).await;
        let unchanged = self.objects.borrow().get(key).is_some_and(|stored| stored.version == version);
        let written = self.write("replace", key, body, unchanged);
        pause(&self.paced).await;
        written
    }

    async fn stored(&self, key: &str) -> Result<Option<Stored>, Failure> {
        pause(&self.paced).await;
        self.enter("stored", key)?;
        let stored = self.objects.borrow().get(key).cloned();
        pause(&self.paced).await;
        Ok(stored)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        pause(&self.paced).await;
        self.enter("list", prefix)?;
        let listed = |(key, stored): (&String, &Stored)| Listed {
            key: key.clone(),
            version: stored.version.clone(),
            written: stored.written,
        };
        let found = self.objects.borrow().iter().filter(|(key, _)| key.starts_with(prefix)).map(listed).collect();
        pause(&self.paced).await;
        Ok(found)
    }
}

/// The states of executions in memory; any other execution is unknown.
#[derive(Debug, Default)]
pub struct FakeExecutionStates {
    /// By ARN.
    pub states: RefCell<BTreeMap<String, ExecutionState>>,
    /// Whether every call fails.
    pub are_down: Cell<bool>,
}

impl ExecutionStates for FakeExecutionStates {
    async fn state(&self, execution: &str) -> Result<ExecutionState, Failure> {
        if self.are_down.get() {
            return Err(Failure::new(ErrorName::StorageFailed, "DescribeExecution: as the test asked"));
        }
        Ok(self.states.borrow().get(execution).copied().unwrap_or(ExecutionState::Unknown))
    }
}
