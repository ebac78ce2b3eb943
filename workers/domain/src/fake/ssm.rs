//! SSM Run Command in memory: it runs no script, and says of each what it was told to.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
};

use super::{claims::pause, ec2::Fault};
use crate::{
    error::{LOST_ANSWER, SsmError},
    hooks::Script,
    ids::InstanceId,
    ports::{Command, CommandEnd, Ended, Invocation, RunCommand},
};

/// A command that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The document.
    pub document: String,
    /// The instance.
    pub instance: InstanceId,
    /// The script.
    pub script: &'static str,
    /// The execution id.
    pub execution_id: String,
    /// The time-out of the script.
    pub timeout_seconds: u32,
}

/// SSM Run Command in memory.
#[derive(Debug, Default)]
pub struct FakeSsm {
    /// Every command that was carried out.
    pub sent: RefCell<Vec<Sent>>,
    /// So many looks at a command find it running.
    pub looks_running: Cell<u32>,
    /// Whether others go on before and after each call.
    pub paced: Cell<bool>,
    ends: RefCell<BTreeMap<&'static str, VecDeque<Option<Ended>>>>,
    faults: RefCell<BTreeMap<&'static str, VecDeque<Fault>>>,
    running: RefCell<BTreeMap<String, (u32, Option<Ended>)>>,
}

/// A command whose script ended with this exit code and this output.
pub fn exited(exit: i32, output: &str) -> Ended {
    let end = if exit == 0 { CommandEnd::Success } else { CommandEnd::Failed };
    Ended { end, status: format!("{end:?}"), exit: Some(exit), output: output.into(), errors: String::new() }
}

/// A command that ended otherwise.
pub fn ended(end: CommandEnd, status: &str) -> Ended {
    Ended { end, status: status.into(), exit: None, output: String::new(), errors: String::new() }
}

impl FakeSsm {
    /// Decides how the next command of a script ends; several are met in turn, and after them all end well.
    pub fn end_next(&self, script: Script, how: Ended) {
        self.ends.borrow_mut().entry(script.as_str()).or_default().push_back(Some(how));
    }

    /// The next command of a script never ends.
    pub fn hang_next(&self, script: Script) {
        self.ends.borrow_mut().entry(script.as_str()).or_default().push_back(None);
    }

    /// Makes the next `SendCommand` or `GetCommandInvocation` meet a fault; several are met in turn.
    pub fn fail_next(&self, action: &'static str, fault: Fault) {
        self.faults.borrow_mut().entry(action).or_default().push_back(fault);
    }

    /// The scripts that were run, in order.
    pub fn scripts(&self) -> Vec<&'static str> {
        self.sent.borrow().iter().map(|sent| sent.script).collect()
    }

    fn enter(&self, action: &'static str) -> Result<bool, SsmError> {
        match self.faults.borrow_mut().get_mut(action).and_then(VecDeque::pop_front) {
            None | Some(Fault::Spared) => Ok(false),
            Some(Fault::AnswerLost) => Ok(true),
            Some(Fault::Refused(code)) => Err(error(action, code)),
        }
    }
}

fn error(action: &'static str, code: &str) -> SsmError {
    SsmError { action, code: code.into(), message: "as the test asked".into() }
}

impl RunCommand for FakeSsm {
    async fn send(&self, command: &Command<'_>) -> Result<String, SsmError> {
        pause(&self.paced).await;
        let lost = self.enter("SendCommand")?;
        let script = command.script.as_str();
        self.sent.borrow_mut().push(Sent {
            document: command.document.name.clone(),
            instance: command.instance.clone(),
            script,
            execution_id: command.execution_id.to_owned(),
            timeout_seconds: command.timeout_seconds,
        });
        let id = format!("command-{}", self.sent.borrow().len());
        let end = self.ends.borrow_mut().get_mut(script).and_then(VecDeque::pop_front);
        let end = end.unwrap_or_else(|| Some(exited(0, "")));
        self.running.borrow_mut().insert(id.clone(), (self.looks_running.get(), end));
        pause(&self.paced).await;
        if lost { Err(error("SendCommand", LOST_ANSWER)) } else { Ok(id) }
    }

    async fn invocation(&self, command: &str, _: &InstanceId) -> Result<Invocation, SsmError> {
        pause(&self.paced).await;
        if self.enter("GetCommandInvocation")? {
            return Err(error("GetCommandInvocation", LOST_ANSWER));
        }
        let mut running = self.running.borrow_mut();
        let Some((looks, end)) = running.get_mut(command) else { return Ok(Invocation::Running) };
        match end {
            Some(end) if *looks == 0 => Ok(Invocation::Ended(end.clone())),
            _ => {
                *looks = looks.saturating_sub(1);
                Ok(Invocation::Running)
            }
        }
    }
}
