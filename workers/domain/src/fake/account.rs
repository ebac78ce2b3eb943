//! An EC2 with its claims, for the tests of workers that create.

use std::{cell::Cell, ops::Deref};

use chrono::{DateTime, TimeDelta, Utc};

use super::{claims::FakeClaims, ec2::FakeEc2, values::home};
use crate::{claims::Attempt, creating::Context, settings::Settings};

/// An EC2 with its claims, and one time for both.
#[derive(Debug)]
pub struct Account {
    pub ec2: FakeEc2,
    pub claims: FakeClaims,
    attempts: Cell<u32>,
}

impl Deref for Account {
    type Target = FakeEc2;

    fn deref(&self) -> &FakeEc2 {
        &self.ec2
    }
}

impl Account {
    /// An empty account with these regions.
    pub fn new(enabled: &[&str], now: DateTime<Utc>) -> Self {
        Self { ec2: FakeEc2::new(enabled, now), claims: FakeClaims::new(now), attempts: Cell::new(0) }
    }

    /// Moves the time on.
    pub fn pass(&self, seconds: i64) {
        self.set_now(self.ec2.now.get() + TimeDelta::seconds(seconds));
    }

    pub fn set_now(&self, now: DateTime<Utc>) {
        self.ec2.now.set(now);
        self.claims.now.set(now);
    }

    /// The name of a new attempt.
    pub fn attempt(&self) -> Attempt {
        self.attempts.set(self.attempts.get() + 1);
        Attempt::new(self.attempts.get().to_string())
    }

    /// One invocation of a worker, during which time stands still.
    pub async fn invoke<R>(
        &self,
        settings: &Settings,
        handle: impl AsyncFnOnce(&Context<'_, FakeEc2, FakeClaims>) -> R,
    ) -> R {
        self.invoke_at(settings, &|| self.ec2.now.get(), handle).await
    }

    /// One invocation of a worker with this clock.
    pub async fn invoke_at<R>(
        &self,
        settings: &Settings,
        clock: &dyn Fn() -> DateTime<Utc>,
        handle: impl AsyncFnOnce(&Context<'_, FakeEc2, FakeClaims>) -> R,
    ) -> R {
        let context = Context {
            ec2: &self.ec2,
            claims: &self.claims,
            home: &home(),
            settings,
            attempt: &self.attempt(),
            began: self.ec2.now.get(),
            clock,
        };
        handle(&context).await
    }
}
