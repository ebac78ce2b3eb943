//! Values that need more than one tag: `Devices`, `Devices.2`, ….

use crate::{fleet::Tags, tags::MAX_VALUE};

/// The key of the tag at an index: `Devices`, `Devices.2`, ….
pub(super) fn key(first: &str, index: usize) -> String {
    match index {
        0 => first.into(),
        _ => format!("{first}.{}", index + 1),
    }
}

/// Whether a key is `first` or one that continues it.
pub(super) fn is_of(first: &str, key: &str) -> bool {
    key.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The tags that hold these words, in their order: each value is as long as EC2 allows, and no word is cut.
pub(crate) fn tags_of(first: &str, words: impl IntoIterator<Item = String>) -> Tags {
    let mut values: Vec<String> = Vec::new();
    for word in words {
        match values.last_mut() {
            Some(last) if last.len() + 1 + word.len() <= MAX_VALUE => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => values.push(word),
        }
    }
    values.into_iter().enumerate().map(|(index, value)| (key(first, index), value)).collect()
}

/// The values that [`tags_of`] wrote, in their order.
pub(crate) fn values<'a>(tags: &'a Tags, first: &str) -> impl Iterator<Item = &'a str> {
    (0..).map_while(move |index| tags.get(&key(first, index)).map(String::as_str))
}
