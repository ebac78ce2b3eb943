/// What the worker needs of AWS.
#[derive(Debug)]
pub struct Ports<'a, E, B, S> {
    pub ec2: &'a E,
    pub blocks: &'a B,
    pub storage: &'a S,
    /// `RetrySeconds`: after so long what did not answer is asked again, and longer every time.
    pub retry_seconds: u32,
}
