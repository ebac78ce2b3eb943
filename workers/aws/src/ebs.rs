//! The EBS direct APIs through the SDK: block lists and blocks of snapshots.

use std::{collections::BTreeMap, sync::Mutex};

use aws_config::{SdkConfig, retry::RetryConfig};
use aws_sdk_ebs::{
    Client,
    config::{self, http::HttpResponse},
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_snapshot_block::GetSnapshotBlockError, list_snapshot_blocks::ListSnapshotBlocksError},
    types::ChecksumAlgorithm,
};
use domain::{
    blocks::{Block, BlockError, BlockPage, ListedBlock, PageStart},
    error::LOST_ANSWER,
    ids::{Region, SnapshotId},
    ports::SnapshotBlocks,
};

use crate::sdk_error::code_and_message;

/// Attempts of a call, the first one included. Reading may be repeated, and most throttles are over in a second.
const ATTEMPTS: u32 = 5;

const LIST: &str = "ListSnapshotBlocks";
const READ: &str = "GetSnapshotBlock";

/// The EBS direct APIs in every region, one client each.
pub struct EbsClient {
    config: SdkConfig,
    clients: Mutex<BTreeMap<Region, Client>>,
}

impl EbsClient {
    /// The client of a region is built when it is first needed.
    pub fn new(config: &SdkConfig) -> Self {
        Self { config: config.clone(), clients: Mutex::default() }
    }

    fn client(&self, region: &Region) -> Client {
        // A poisoned lock only means that another thread panicked during a lookup.
        let mut clients = self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let new = || {
            let own = config::Builder::from(&self.config).region(config::Region::new(region.as_str().to_owned()));
            Client::from_conf(own.retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS)).build())
        };
        clients.entry(region.clone()).or_insert_with(new).clone()
    }
}

/// What EBS says more exactly than by its code.
trait Reason {
    fn reason(&self) -> Option<String>;
}

/// The errors of both calls have the same variants, and no type in common.
macro_rules! reasons {
    ($error:ident) => {
        impl Reason for $error {
            fn reason(&self) -> Option<String> {
                match self {
                    Self::AccessDeniedException(e) => Some(e.reason().as_str().to_owned()),
                    Self::RequestThrottledException(e) => e.reason().map(|reason| reason.as_str().to_owned()),
                    Self::ResourceNotFoundException(e) => e.reason().map(|reason| reason.as_str().to_owned()),
                    Self::ServiceQuotaExceededException(e) => e.reason().map(|reason| reason.as_str().to_owned()),
                    Self::ValidationException(e) => e.reason().map(|reason| reason.as_str().to_owned()),
                    _ => None,
                }
            }
        }
    };
}

reasons!(GetSnapshotBlockError);
reasons!(ListSnapshotBlocksError);

fn failed<E: ProvideErrorMetadata + Reason>(
    action: &'static str,
    region: &Region,
) -> impl FnOnce(SdkError<E, HttpResponse>) -> BlockError {
    move |error| {
        let reason = error.as_service_error().and_then(Reason::reason);
        let (code, message) = code_and_message(&error, BlockError::is_throttle);
        BlockError { action, region: region.to_string(), code, reason, message }
    }
}

/// An answer that cannot be read says nothing of the block: it is asked for again.
fn unreadable(action: &'static str, region: &Region, what: impl std::fmt::Display) -> BlockError {
    let message = format!("the answer has {what}");
    BlockError { action, region: region.to_string(), code: LOST_ANSWER.into(), reason: None, message }
}

impl SnapshotBlocks for EbsClient {
    async fn list_blocks(
        &self,
        region: &Region,
        snapshot: &SnapshotId,
        start: PageStart<'_>,
        most: u32,
    ) -> Result<BlockPage, BlockError> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let request = self.client(region).list_snapshot_blocks().snapshot_id(snapshot.as_str()).max_results(most);
        let request = match start {
            PageStart::Index(index) => request.starting_block_index(i32::try_from(index).unwrap_or(i32::MAX)),
            PageStart::Token(token) => request.next_token(token),
        };
        let answer = request.send().await.map_err(failed(LIST, region))?;
        let blocks = answer.blocks.unwrap_or_default().into_iter().map(|block| {
            let index = block.block_index.and_then(|index| u32::try_from(index).ok());
            index.zip(block.block_token).map(|(index, token)| ListedBlock { index, token })
        });
        let blocks =
            blocks.collect::<Option<_>>().ok_or_else(|| unreadable(LIST, region, "a block without an index"))?;
        Ok(BlockPage { blocks, next: answer.next_token.filter(|next| !next.is_empty()) })
    }

    async fn read_block(
        &self,
        region: &Region,
        snapshot: &SnapshotId,
        block: &ListedBlock,
    ) -> Result<Block, BlockError> {
        let request = self
            .client(region)
            .get_snapshot_block()
            .snapshot_id(snapshot.as_str())
            .block_index(i32::try_from(block.index).unwrap_or(i32::MAX))
            .block_token(&block.token);
        let answer = request.send().await.map_err(failed(READ, region))?;
        let length = answer.data_length.and_then(|length| usize::try_from(length).ok());
        let length = length.ok_or_else(|| unreadable(READ, region, "no length"))?;
        let checksum = match &answer.checksum_algorithm {
            None | Some(ChecksumAlgorithm::ChecksumAlgorithmSha256) => answer.checksum,
            Some(other) => return Err(unreadable(READ, region, format!("the checksum algorithm {other}"))),
        };
        let checksum = checksum.ok_or_else(|| unreadable(READ, region, "no checksum"))?;
        let data =
            answer.block_data.collect().await.map_err(|e| unreadable(READ, region, format!("no whole body: {e}")))?;
        Ok(Block { data: data.to_vec(), length, checksum })
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ebs::{
        primitives::SdkBody,
        types::{
            AccessDeniedExceptionReason, ValidationExceptionReason,
            error::{AccessDeniedException, ValidationException},
        },
    };
    use domain::{blocks::BlockReaction, error::ErrorName};

    use super::*;

    fn reaction(error: GetSnapshotBlockError, status: u16) -> BlockReaction {
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        failed(READ, &"us-east-1".parse().unwrap())(SdkError::service_error(error, response)).reaction()
    }

    #[test]
    fn the_reason_decides_what_follows() {
        let denied =
            AccessDeniedException::builder().reason(AccessDeniedExceptionReason::DependencyAccessDenied).build();
        let never = BlockReaction::Never(ErrorName::KeyNotAccessible);
        assert_eq!(reaction(GetSnapshotBlockError::AccessDeniedException(denied.unwrap()), 403), never);
        let expired = ValidationException::builder().reason(ValidationExceptionReason::InvalidBlockToken).build();
        let reason = reaction(GetSnapshotBlockError::ValidationException(expired), 400);
        assert_eq!(reason, BlockReaction::TokenExpired);
    }
}
