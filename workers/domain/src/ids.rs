//! Region codes and ids of EC2, checked where they enter the system.
//!
//! ```
//! use domain::ids::{Region, SnapshotId};
//! assert!("eu-west-1".parse::<Region>().is_ok());
//! assert!("eu west 1".parse::<Region>().is_err());
//! assert!("snap-0123456789abcdef0".parse::<SnapshotId>().is_ok());
//! assert!("vol-0123456789abcdef0".parse::<SnapshotId>().is_err());
//! ```

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A text that is not the expected id or region code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not {wanted}")]
pub struct NotAName {
    pub given: String,
    /// What is allowed, as the end of a sentence.
    pub wanted: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as EC2 writes it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAName;

            fn from_str(text: &str) -> Result<Self, NotAName> {
                let check: fn(&str) -> bool = $check;
                match check(text) {
                    true => Ok(Self(text.into())),
                    false => Err(NotAName { given: text.to_owned(), wanted: $wanted }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NotAName;

            fn try_from(text: String) -> Result<Self, NotAName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A region code: lower-case words and a number, joined by hyphens (`us-gov-west-1`).
    ///
    /// [`crate::fleet::Regions`] knows whether the region exists and is enabled.
    Region,
    "a region code such as eu-west-1",
    |text| {
        let mut parts = text.split('-').rev();
        let number = parts.next().unwrap_or_default();
        let words: Vec<&str> = parts.collect();
        (1..=2).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && words.len() >= 2
            && words.iter().all(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase()))
    }
);
name!(
    /// `i-` and hexadecimal digits.
    InstanceId,
    "an instance id such as i-0123456789abcdef0",
    |text| hexadecimal_after(text, "i-")
);
name!(
    /// `vol-` and hexadecimal digits.
    VolumeId,
    "a volume id such as vol-0123456789abcdef0",
    |text| hexadecimal_after(text, "vol-")
);
name!(
    /// `snap-` and hexadecimal digits.
    SnapshotId,
    "a snapshot id such as snap-0123456789abcdef0",
    |text| hexadecimal_after(text, "snap-")
);

fn hexadecimal_after(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|id| (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_codes_of_every_partition_are_accepted() {
        for code in ["eu-west-1", "us-gov-west-1", "cn-north-1", "ap-southeast-5", "us-iso-east-1"] {
            assert_eq!(code.parse::<Region>().unwrap().as_str(), code);
        }
    }

    #[test]
    fn what_is_not_a_region_code_is_named_in_the_error() {
        for text in ["", "eu-west", "eu-west-", "EU-WEST-1", " eu-west-1", "eu--west-1", "1", "-1", "eu-west-1a"] {
            let error = text.parse::<Region>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("eu-west-1"), "{error}");
        }
    }

    #[test]
    fn a_name_read_from_json_is_checked() {
        assert!(serde_json::from_str::<VolumeId>("\"vol-1a\"").is_ok());
        let error = serde_json::from_str::<VolumeId>("\"disk-1\"").unwrap_err().to_string();
        assert!(error.contains("\"disk-1\" is not a volume id"), "{error}");
    }
}
