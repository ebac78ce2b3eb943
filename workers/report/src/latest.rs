use domain::{
    coverage::Remembered,
    error::Failure,
    ports::{Claims, Storage, Written},
    report::{Before, Changes, LATEST, LastKnown, LastReport, ListIn, Listed, Moves, Pointed, Summary, moves},
    run_files,
};

/// How often a file that reports share is tried to be written: another one may write it at the same moment.
pub(crate) const MAX_TRIES: usize = 3;

/// Writes such a file, if it still is as it was read; `None` is that there was none.
pub(crate) async fn put(
    storage: &impl Claims,
    key: &str,
    body: &str,
    version: Option<String>,
) -> Result<Written, Failure> {
    match version {
        None => storage.create(key, body).await,
        Some(version) => storage.replace(key, body, &version).await,
    }
}

/// What is known of the last report. That it cannot be read is no failure of this one.
pub(crate) async fn read(storage: &impl Claims) -> LastReport {
    let (known, _) = pointer(storage).await;
    if let LastReport::Unknown(why) = &known {
        tracing::warn!(cause = why, "the last report is not known");
    }
    known
}

/// The pointer, and its version.
async fn pointer(storage: &impl Claims) -> (LastReport, Result<Option<String>, ()>) {
    match storage.stored(LATEST).await {
        Ok(Some(stored)) => (LastReport::read(Some(&stored.body)), Ok(Some(stored.version))),
        Ok(None) => (LastReport::Nothing, Ok(None)),
        Err(failure) => (LastReport::Unknown(failure.to_string()), Err(())),
    }
}

/// What the last report knew, with the run that it is of; none where there was none, and an error where it cannot be known.
pub(crate) struct Then(Option<(String, Result<LastKnown, String>)>);

impl Then {
    /// Reads it.
    pub(crate) async fn read(storage: &impl Storage, before: &Before) -> Self {
        let Some(ListIn { run, key }) = &before.list else { return Self(None) };
        let known = match storage.read(key).await {
            Ok(body) => LastKnown::read(body.as_deref()),
            Err(failure) => Err(failure.to_string()),
        };
        if let Err(why) = &known {
            tracing::warn!(run, cause = why, "what the last report knew is not known");
        }
        Self(Some((run.clone(), known)))
    }

    /// What it knew of proofs.
    pub(crate) fn proofs(&mut self) -> Remembered {
        match &mut self.0 {
            Some((_, Ok(known))) => std::mem::take(&mut known.proofs),
            _ => Remembered::default(),
        }
    }

    /// What is different from it.
    pub(crate) fn changes(&self, before: &Before, now: Option<&Listed>) -> Changes {
        let mut changes = Changes {
            since: before.since.clone(),
            listed: None,
            not_compared: None,
            instances: Moves::default(),
            volumes: Moves::default(),
        };
        match (&self.0, now) {
            (Some((run, Ok(then))), Some(now)) => {
                (changes.instances, changes.volumes) = moves(&then.listed, now);
                changes.listed = Some(run.clone());
            }
            (Some((_, Err(why))), Some(_)) => changes.not_compared = Some(why.clone()),
            _ => {}
        }
        changes
    }
}

/// Points at this report, unless a later one is pointed at. A run does not fail because of it.
pub(crate) async fn point_at(storage: &impl Claims, summary: &Summary) {
    let run = &summary.run;
    let list = || ListIn { run: run.id.clone(), key: run.key(run_files::REPORT) };
    let own = Pointed {
        run: run.id.clone(),
        scheduled: run.scheduled,
        execution: run.execution.clone(),
        started: run.started,
        reported: summary.ended,
        complete: summary.is_complete(),
        list: summary.listed.is_some().then(list),
    };
    for _ in 0..MAX_TRIES {
        let (known, version) = pointer(storage).await;
        // What cannot be read may point at a later one.
        let Ok(version) = version else { break };
        let Some(latest) = known.after(own.clone()) else {
            tracing::info!(run = run.id, "a later run has already reported: the pointer stays");
            return;
        };
        let Ok(body) = serde_json::to_string(&latest) else { break };
        match put(storage, LATEST, &body, version).await {
            Ok(Written::As(_)) => return,
            Ok(Written::Refused | Written::Conflict) => {}
            Err(failure) => {
                let (run, error) = (run.id.as_str(), failure.name.as_str());
                tracing::warn!(run, error, cause = failure.cause, "{LATEST} could not be written");
            }
        }
    }
    tracing::warn!(run = run.id, "{LATEST} does not point at this report: the next one does not know of it");
}
