//! Hook: runs the scripts of an instance's hook, before and after its snapshots are begun.
//!
//! Task: [`HookTask`]. Result of a pre-script: [`PreHooked`](domain::contract::PreHooked); of a post-script: nothing.
//!
//! A script is a command of SSM. It is claimed, sent, and looked at every two seconds by the same message, until it ends
//! ([`domain::hooks::claim`]); what it said is read in [`domain::hooks::script`]. After a post-script the snapshots are
//! raised from crash-consistent to what they are, as far as they carry this hook's execution id.
//!
//! That a pre-script failed is a result, and no failure of this worker: the state machine thaws, tries again, or goes on
//! without. That a post-script failed is one, three commands later: the instance may still be frozen.
//!
//! - Delivered twice, also at the same moment: one claims the script and sends it; all follow the same command.
//! - Crashed between claim and command, or an answer that was lost: a pre-script is not sent again, and the instance
//!   counts as frozen, so that it is thawed; a post-script is, since to thaw twice does no harm.
//! - Throttled: a pre-script that was not sent waits; one that may have frozen is looked at again as soon as it may be.
//! - Bad input, such as a document that is not allowed: nothing is frozen, and the reason has a name.
//! - Put back by hand: a pre-script does nothing, a post-script only thaws.
//!
//! What has to be looked for takes no longer than the script may: a frozen instance never waits.

mod post;
mod pre;

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    contract::HookTask,
    creating::Context,
    error::{ErrorName, Failure, Reaction, SsmError, cut},
    hooks::{
        DELIVERY_SECONDS, HookDocument, HookPlan, Script,
        claim::{HookClaim, StoredHookClaim},
    },
    outcome::Outcome,
    ports::{Claims, Command, Ec2, Ended, Invocation, RunCommand},
};
use futures::future::join_all;

/// Seconds between two looks at a command.
pub const LOOK_SECONDS: u32 = 2;
/// For so long after all of its time-outs a command may take to be shown as ended.
const GRACE: TimeDelta = TimeDelta::seconds(15);
/// For so long a claim without a command may be in the hands of somebody who is about to send it: a function's time-out.
const HOLDER_LIVES: TimeDelta = domain::claims::FUNCTION_TIMEOUT;

/// What the worker works with.
pub struct Hooks<'a, E, C, S> {
    /// EC2, the claims, and when the invocation began.
    pub context: &'a Context<'a, E, C>,
    /// SSM.
    pub ssm: &'a S,
}

/// Answers a batch, one outcome per task.
pub async fn handle<E: Ec2, C: Claims, S: RunCommand>(
    hooks: &Hooks<'_, E, C, S>,
    tasks: Vec<HookTask>,
) -> Vec<Outcome> {
    // All at once: no instance stays frozen for another one's sake.
    join_all(tasks.iter().map(async |task| match task.script {
        Script::Pre => pre::handle(hooks, task).await,
        Script::Post => post::handle(hooks, task).await,
    }))
    .await
}

/// How a command stands.
enum Followed {
    /// It is looked at again.
    NotYet,
    /// It has ended.
    Ended(Ended),
    /// It has not, though all of its time-outs are over; or nothing can be known of it.
    Lost(Failure),
}

impl<E, C: Claims, S: RunCommand> Hooks<'_, E, C, S> {
    fn now(&self) -> DateTime<Utc> {
        self.context.now()
    }

    /// The document of a hook, if it may be run.
    fn document(&self, hook: &HookPlan) -> Result<HookDocument, Failure> {
        let documents = &self.context.settings.hook_documents;
        documents.find(&hook.document).ok_or_else(|| {
            let cause = format!("BackupHook={:?}: allowed is {}", hook.document, documents.allowed());
            Failure::new(ErrorName::HookNotAllowed, cause)
        })
    }

    async fn send(&self, task: &HookTask, document: &HookDocument) -> Result<String, SsmError> {
        let comment = cut(&format!("{} of backup {}", task.script, task.run_id), 100);
        let command = Command {
            document,
            instance: &task.instance.instance,
            script: task.script,
            execution_id: &task.execution_id,
            timeout_seconds: task.hook.timeout_seconds,
            comment: &comment,
        };
        let (run, instance) = (&task.run_id, task.instance.instance.as_str());
        tracing::info!(run, instance, script = %task.script, outcome = "sent", document = document.name, "a command is sent");
        self.ssm.send(&command).await
    }

    /// Looks at the command of a claim.
    async fn follow(&self, task: &HookTask, claim: &HookClaim, command: &str) -> Followed {
        let is_over = claim.age(self.now()) > longest(&task.hook);
        let failure = match self.ssm.invocation(command, &task.instance.instance).await {
            Ok(Invocation::Ended(ended)) => return Followed::Ended(ended),
            Ok(Invocation::Running) => {
                let cause = format!("the {} did not end in time: command {command}", task.script);
                Failure::new(ErrorName::HookTimedOut, cause)
            }
            Err(error) if matches!(error.reaction(), Reaction::Never(_)) => return Followed::Lost(error.into()),
            Err(error) => error.into(),
        };
        if is_over { Followed::Lost(failure) } else { Followed::NotYet }
    }

    /// Whether this invocation has no time left to send something.
    fn is_late(&self) -> bool {
        self.context.is_late(self.context.began)
    }
}

/// For so long a command can be on its way and at work.
fn longest(hook: &HookPlan) -> TimeDelta {
    TimeDelta::seconds((DELIVERY_SECONDS + hook.timeout_seconds).into()) + GRACE
}

fn look_again() -> Outcome {
    Outcome::Later(LOOK_SECONDS)
}

/// Writes to a claim on which nothing depends any more; what fails is logged.
async fn note(written: impl Future<Output = Result<bool, Failure>>, claim: &str) {
    if let Err(failure) = written.await {
        tracing::warn!(claim, error = %failure.name, cause = failure.cause, "the claim could not be written");
    }
}

/// The claim of a task, as far as there is one.
async fn claim_of(claims: &impl Claims, task: &HookTask) -> (String, Result<Option<StoredHookClaim>, Failure>) {
    let key = domain::hooks::claim::hook_key(&task.run_id, &task.instance.instance, &task.execution_id, task.script);
    let found = StoredHookClaim::find(claims, &key).await;
    (key, found)
}

#[cfg(test)]
mod tests;
