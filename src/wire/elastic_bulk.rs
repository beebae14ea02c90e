//! The body of Elasticsearch's `_bulk`: lines in pairs, an action and a document
//! (elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk).

use std::borrow::Cow;

use serde::Deserialize;

/// What is to be done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Store it.
    Index,
    /// Store it; the same for a store that only adds.
    Create,
    /// Change a stored one.
    Update,
    /// Remove a stored one.
    Delete,
}

impl Verb {
    /// The word in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Index => "index",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Delete => "delete",
        }
    }
}

/// One action with its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkItem<'a> {
    /// What to do.
    pub verb: Verb,
    /// Where, if the action says so.
    pub index: Option<Cow<'a, str>>,
    /// The document's name, if the action gives one.
    pub id: Option<Cow<'a, str>>,
    /// The ingest pipeline, if the action names one.
    pub pipeline: Option<Cow<'a, str>>,
    /// The document as JSON; empty for a removal.
    pub document: &'a [u8],
}

/// Why a body is no bulk request; nothing of it is to be taken then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BulkError {
    /// An action line that cannot be read.
    #[error("Malformed action/metadata line [{line}]: {reason}")]
    Action {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The last action has no document.
    #[error("action/metadata line [{line}] is not followed by a document")]
    NoDocument {
        /// From 1.
        line: usize,
    },
    /// There is no action.
    #[error("request body is required")]
    Empty,
}

#[derive(Deserialize, Default)]
struct Meta<'a> {
    #[serde(borrow, rename = "_index")]
    index: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "_id")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pipeline: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    index: Option<Meta<'a>>,
    #[serde(borrow)]
    create: Option<Meta<'a>>,
    #[serde(borrow)]
    update: Option<Meta<'a>>,
    #[serde(borrow)]
    delete: Option<Meta<'a>>,
}

/// Reads all actions. Documents are not looked into. Empty lines between pairs are passed over.
pub fn decode(body: &[u8]) -> Result<Vec<BulkItem<'_>>, BulkError> {
    let mut items = Vec::new();
    let mut lines = body.split(|b| *b == b'\n').enumerate().map(|(i, l)| (i + 1, l.trim_ascii()));
    while let Some((line, text)) = lines.next() {
        if text.is_empty() {
            continue;
        }
        let bad = |reason: String| BulkError::Action { line, reason };
        let action: Action<'_> = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        let (verb, meta) = match action {
            Action { create: Some(m), .. } => (Verb::Create, m),
            Action { index: Some(m), .. } => (Verb::Index, m),
            Action { update: Some(m), .. } => (Verb::Update, m),
            Action { delete: Some(m), .. } => (Verb::Delete, m),
            Action { .. } => return Err(bad("expected one of create, index, update, delete".to_owned())),
        };
        let document: &[u8] = match verb {
            Verb::Delete => b"",
            Verb::Index | Verb::Create | Verb::Update => {
                let (_, document) = lines.next().ok_or(BulkError::NoDocument { line })?;
                if document.is_empty() {
                    return Err(BulkError::NoDocument { line });
                }
                document
            }
        };
        items.push(BulkItem { verb, index: meta.index, id: meta.id, pipeline: meta.pipeline, document });
    }
    if items.is_empty() { Err(BulkError::Empty) } else { Ok(items) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_documents() {
        let body = br#"{"create":{"_index":"logs-app","_id":"7","pipeline":"p","_type":"_doc"}}
{"message":"one"}

{"index":{}}
{"message":"two"}
{"delete":{"_index":"x","_id":"1"}}
{ "update" : {"_id":"2"} }
{"doc":{}}"#;
        let items = decode(body).unwrap();
        let short: Vec<_> = items.iter().map(|i| (i.verb.as_str(), i.index.as_deref(), i.document.len())).collect();
        assert_eq!(
            short,
            [("create", Some("logs-app"), 17), ("index", None, 17), ("delete", Some("x"), 0), ("update", None, 10)]
        );
        assert_eq!((items[0].id.as_deref(), items[0].pipeline.as_deref()), (Some("7"), Some("p")));
        for (body, error) in [
            ("", "request body is required"),
            ("\n\n", "request body is required"),
            ("{\"index\":{}}\n", "line [1] is not followed"),
            ("{\"index\":{}}\n\n{}", "line [1] is not followed"),
            ("{\"index\":{}}\n{}\n{\"frob\":{}}\n{}\n", "line [3]: expected one of"),
            ("nonsense\n", "line [1]: "),
            ("{\"index\":[]}\n{}", "line [1]: "),
        ] {
            let found = decode(body.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(error), "{body}: {found}");
        }
    }
}
