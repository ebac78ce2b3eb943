use chrono::{DateTime, Utc};
use domain::{ids::Region, settings::Settings};

pub struct Context<'a, E, S> {
    pub ec2: &'a E,
    pub storage: &'a S,
    pub settings: &'a Settings,
    pub home: &'a Region,
    pub now: DateTime<Utc>,
}
