//! Which SSM documents may be run as hooks: those of the stack itself, and those that a parameter lists.

/// The documents that the template makes; the stack's name and a hyphen stand before each.
pub const SHIPPED: [&str; 4] = ["mariadb", "mysql", "postgresql", "filesystem"];

/// What an entry of `AllowedHookDocuments` may be, as the end of a sentence.
pub const ALLOWED: &str = "ARNs of SSM documents such as arn:aws:ssm:eu-west-1:111122223333:document/Freeze, separated \
    by commas";

/// A document that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookDocument {
    /// As SSM is asked for it: the name of one of the stack, else the ARN, since it may be another account's.
    pub name: String,
    /// Whether it is one of the stack: these take the time-out of their script as a parameter.
    pub is_shipped: bool,
}

/// The documents that may be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookDocuments {
    stack: Option<String>,
    listed: Vec<String>,
}

impl HookDocuments {
    /// Those of a stack of this name, and those of a list of ARNs; an entry that is none is the error.
    pub fn read(list: &str, stack: Option<&str>) -> Result<Self, String> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let read = |entry: &str| {
            let parts: Vec<&str> = entry.splitn(6, ':').collect();
            let is_arn = matches!(parts.as_slice(), ["arn", _, "ssm", region, _, name]
                if !region.is_empty() && name.strip_prefix("document/").is_some_and(|name| !name.is_empty()));
            if is_arn { Ok(entry.to_owned()) } else { Err(entry.to_owned()) }
        };
        Ok(Self { stack: stack.map(str::to_owned), listed: entries.map(read).collect::<Result<_, _>>()? })
    }

    /// The document that is meant: by its full name or ARN; one of the stack also by what follows the stack's name, in
    /// any case of letters.
    pub fn find(&self, asked: &str) -> Option<HookDocument> {
        let asked = asked.trim();
        let shipped = self.stack.as_ref().and_then(|stack| {
            let full = |kind: &&str| format!("{stack}-{kind}");
            SHIPPED.iter().find(|kind| kind.eq_ignore_ascii_case(asked) || full(kind) == asked).map(full)
        });
        if let Some(name) = shipped {
            return Some(HookDocument { name, is_shipped: true });
        }
        let listed = self.listed.iter().find(|arn| *arn == asked || short(arn) == asked)?;
        Some(HookDocument { name: listed.clone(), is_shipped: false })
    }

    /// What may be asked for, as the end of a sentence.
    pub fn allowed(&self) -> String {
        let shipped = SHIPPED.into_iter().filter(|_| self.stack.is_some());
        let names: Vec<&str> = shipped.chain(self.listed.iter().map(|arn| short(arn))).collect();
        format!("one of {}; others once AllowedHookDocuments lists them", names.join(", "))
    }
}

/// The name in an ARN.
fn short(arn: &str) -> &str {
    arn.rsplit_once("document/").map_or(arn, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_found_by_its_name_and_nothing_else_is_allowed() {
        let arn = "arn:aws:ssm:eu-west-1:111122223333:document/Freeze";
        let documents = HookDocuments::read(&format!(" {arn}, "), Some("nightly")).unwrap();
        let found = |asked: &str| documents.find(asked).map(|document| (document.name, document.is_shipped));
        for asked in ["postgresql", "PostgreSQL", "nightly-postgresql", " postgresql "] {
            assert_eq!(found(asked), Some(("nightly-postgresql".into(), true)), "{asked}");
        }
        for asked in [arn, "Freeze"] {
            assert_eq!(found(asked), Some((arn.into(), false)), "{asked}");
        }
        for asked in ["", "oracle", "other-postgresql", "freeze", "AWS-RunShellScript", "document/Freeze"] {
            assert_eq!(found(asked), None, "{asked}");
        }
        assert_eq!(HookDocuments::default().find("mariadb"), None, "no stack, no documents of it");
    }

    #[test]
    fn an_entry_that_is_no_document_is_named() {
        for entry in ["Freeze", "arn:aws:ssm:eu-west-1:1:parameter/x", "arn:aws:ssm::1:document/x", "arn:aws:s3:::x"] {
            assert_eq!(HookDocuments::read(entry, None), Err(entry.into()));
        }
        assert!(HookDocuments::read("arn:aws:ssm:eu-west-1::document/AWS-Freeze", None).is_ok());
    }
}
