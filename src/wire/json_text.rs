//! Texts in JSON, without copying them where that can be avoided.

use std::borrow::Cow;

/// A string, borrowed from the body if it has no escapes. serde does that for a bare `Cow`, but not inside of options, lists and maps.
#[derive(serde::Deserialize, Default)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);
