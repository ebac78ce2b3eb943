//! The event with which Lambda delivers messages of SQS.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::delivery::Delivery;

/// The event; fields that are not used are left out.
#[derive(Deserialize)]
pub struct SqsEvent {
    #[serde(rename = "Records")]
    records: Vec<SqsRecord>,
}

impl SqsEvent {
    pub fn deliveries(self) -> Vec<Delivery> {
        self.records.into_iter().map(Delivery::from).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SqsRecord {
    message_id: String,
    receipt_handle: String,
    body: String,
    attributes: SqsAttributes,
}

/// SQS writes numbers as decimal text.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SqsAttributes {
    approximate_receive_count: String,
    sent_timestamp: String,
}

impl From<SqsRecord> for Delivery {
    fn from(record: SqsRecord) -> Self {
        let attributes = record.attributes;
        Self {
            id: record.message_id,
            receipt: record.receipt_handle,
            body: record.body,
            receive_count: attributes.approximate_receive_count.parse().unwrap_or(1),
            // Milliseconds since 1970.
            sent: attributes
                .sent_timestamp
                .parse()
                .ok()
                .and_then(DateTime::from_timestamp_millis)
                .unwrap_or_else(Utc::now),
        }
    }
}
