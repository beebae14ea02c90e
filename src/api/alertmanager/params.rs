//! Query parameters: repeated `filter`, lenient booleans, `receiver` as a regex.

use super::error::ApiError;
use crate::config::AlertMatcher;
use crate::config::alert_matcher::parse_matcher;
use crate::model::Labels;
use crate::text::go_regex::GoRegex;

/// The parameters in the order given; unknown ones do not matter.
pub struct Params(pub Vec<(String, String)>);

impl Params {
    fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A boolean that is true if it is not given; what is no boolean is false.
    pub fn flag(&self, name: &str) -> bool {
        match self.first(name) {
            None | Some("") => true,
            Some(v) => ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"]
                .iter()
                .any(|t| v.eq_ignore_ascii_case(t)),
        }
    }

    /// The matchers of all `filter` parameters.
    pub fn filters(&self) -> Result<Vec<AlertMatcher>, ApiError> {
        let texts = self.0.iter().filter(|(n, _)| n == "filter").map(|(_, v)| v);
        texts.map(|t| parse_matcher(t).map_err(|e| ApiError::meaning(400, e))).collect()
    }

    /// The regex of `receiver`; all receivers if it is not given.
    pub fn receiver(&self) -> Result<Option<GoRegex>, ApiError> {
        let Some(text) = self.first("receiver").filter(|t| !t.is_empty()) else { return Ok(None) };
        let regex = GoRegex::unanchored(&format!("^(?:{text})$"));
        regex.map(Some).map_err(|e| ApiError::meaning(400, format!("failed to parse receiver param: {e}")))
    }
}

/// Whether labels satisfy all filters.
pub fn all_match(filters: &[AlertMatcher], labels: &Labels) -> bool {
    filters.iter().all(|m| m.matches_labels(labels))
}
