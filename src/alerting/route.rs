//! The compiled route tree: which routes an alert reaches, and how each of them groups and waits.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::alerting::RouteConfig;
use crate::config::{AlertMatcher, AlertMatchers};
use crate::model::{Labels, MatchOp};

/// How alerts of a route are put into groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Each alert is its own group (`...`).
    All,
    /// By these labels; none means one group.
    Labels(Vec<String>),
}

/// What a route does with its alerts, inherited values filled in. Durations are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteOptions {
    /// Who is told.
    pub receiver: String,
    /// How alerts are grouped.
    pub group_by: GroupBy,
    /// How long the first notification waits.
    pub group_wait_ms: i64,
    /// How often changes are told.
    pub group_interval_ms: i64,
    /// After how long an unchanged group is told again.
    pub repeat_interval_ms: i64,
    /// Names of intervals in which the route is quiet; not inherited.
    pub mute_time_intervals: Vec<String>,
    /// Names of intervals outside of which the route is quiet; not inherited.
    pub active_time_intervals: Vec<String>,
}

impl Default for RouteOptions {
    fn default() -> Self {
        // Alertmanager's defaults: half a minute, five minutes, four hours.
        RouteOptions {
            receiver: String::new(),
            group_by: GroupBy::Labels(Vec::new()),
            group_wait_ms: 30_000,
            group_interval_ms: 300_000,
            repeat_interval_ms: 4 * 3_600_000,
            mute_time_intervals: Vec::new(),
            active_time_intervals: Vec::new(),
        }
    }
}

/// One node of the tree.
#[derive(Debug)]
pub struct Route {
    /// Identity that survives a reload: the key, and the how manyth route with this key it is.
    pub id: String,
    /// The matchers on the way from the root, `{}/{team="db"}`; part of the group key that receivers see.
    pub key: String,
    /// What it does.
    pub options: RouteOptions,
    matchers: AlertMatchers,
    continue_matching: bool,
    children: Vec<Arc<Route>>,
}

impl Route {
    /// The labels that make the group of an alert on this route.
    pub fn group_labels(&self, labels: &Labels) -> Labels {
        match &self.options.group_by {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(by) => labels.with_only(by),
        }
    }

    /// Its own matchers, sorted; those of the routes above it are not among them.
    pub fn matchers(&self) -> &[AlertMatcher] {
        &self.matchers.0
    }

    /// Whether an alert that reached it is shown to the routes after it as well.
    pub fn continues(&self) -> bool {
        self.continue_matching
    }

    /// The routes below it, in order.
    pub fn children(&self) -> &[Arc<Route>] {
        &self.children
    }

    /// Whether its own matchers hold.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.match_all(labels)
    }

    fn collect(self: &Arc<Self>, labels: &Labels, out: &mut Vec<Arc<Route>>) -> bool {
        if !self.matchers.match_all(labels) {
            return false;
        }
        let before = out.len();
        for child in &self.children {
            if child.collect(labels, out) && !child.continue_matching {
                break;
            }
        }
        if out.len() == before {
            out.push(self.clone());
        }
        true
    }
}

/// The tree; an empty one reaches nobody.
#[derive(Debug, Default)]
pub struct RouteTree {
    root: Option<Arc<Route>>,
}

impl RouteTree {
    /// Compiles the tree. Fails on a regex of the old form that does not compile, which validation has reported before.
    pub fn compile(root: Option<&RouteConfig>) -> Result<Self, String> {
        let mut seen = HashMap::new();
        let root = match root {
            Some(r) => Some(compile(r, None, &RouteOptions::default(), &mut seen)?),
            None => None,
        };
        Ok(RouteTree { root })
    }

    /// The route that takes every alert.
    pub fn root(&self) -> Option<&Arc<Route>> {
        self.root.as_ref()
    }

    /// The routes that an alert with these labels reaches, in order. An alert that matches no child of a route belongs to the route itself.
    pub fn matching(&self, labels: &Labels) -> Vec<Arc<Route>> {
        let mut out = Vec::new();
        if let Some(root) = &self.root {
            root.collect(labels, &mut out);
        }
        out
    }
}

fn compile(
    config: &RouteConfig,
    parent_key: Option<&str>,
    inherited: &RouteOptions,
    seen: &mut HashMap<String, usize>,
) -> Result<Arc<Route>, String> {
    let mut matchers = config.matchers.0.clone();
    for (name, value) in &config.match_equal {
        matchers.push(AlertMatcher::new(name, MatchOp::Equal, value)?);
    }
    for (name, value) in &config.match_re {
        // Anchored in words, too: the key that receivers see is Alertmanager's.
        matchers.push(AlertMatcher::new(name, MatchOp::Regex, format!("^(?:{value})$"))?);
    }
    matchers.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    let own = matchers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let key = match parent_key {
        Some(parent) => format!("{parent}/{{{own}}}"),
        None => format!("{{{own}}}"),
    };
    let ordinal = seen.entry(key.clone()).or_insert(0);
    let id = format!("{key}#{ordinal}");
    *ordinal += 1;
    let options = RouteOptions {
        receiver: config.receiver.clone().filter(|r| !r.is_empty()).unwrap_or_else(|| inherited.receiver.clone()),
        group_by: match config.group_by.as_deref() {
            None => inherited.group_by.clone(),
            Some([all]) if all == "..." => GroupBy::All,
            Some(by) => GroupBy::Labels(by.to_vec()),
        },
        group_wait_ms: config.group_wait.map_or(inherited.group_wait_ms, |d| d.as_ms()),
        group_interval_ms: config.group_interval.map_or(inherited.group_interval_ms, |d| d.as_ms()),
        repeat_interval_ms: config.repeat_interval.map_or(inherited.repeat_interval_ms, |d| d.as_ms()),
        mute_time_intervals: config.mute_time_intervals.clone(),
        active_time_intervals: config.active_time_intervals.clone(),
    };
    let children =
        config.routes.iter().map(|c| compile(c, Some(&key), &options, seen)).collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Route {
        id,
        key,
        options,
        matchers: AlertMatchers(matchers),
        continue_matching: config.continue_matching,
        children,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(json: &str) -> RouteTree {
        RouteTree::compile(Some(&serde_json::from_str(json).unwrap())).unwrap()
    }

    fn receivers(t: &RouteTree, labels: &[(&str, &str)]) -> Vec<String> {
        t.matching(&Labels::from_pairs(labels.iter().copied())).iter().map(|r| r.options.receiver.clone()).collect()
    }

    #[test]
    fn inherits_and_names_routes() {
        let t = tree(
            r#"{"receiver":"r","group_by":["a"],"group_wait":"1s","mute_time_intervals":["x"],
                "routes":[{"matchers":["b=2","a=1"],"group_by":[],"repeat_interval":"1m"},{"matchers":["a=1","b=2"],"receiver":"s","group_by":["..."]}]}"#,
        );
        let found = t.matching(&Labels::from_pairs([("a", "1"), ("b", "2")]));
        let [one] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((one.key.as_str(), one.id.as_str()), (r#"{}/{a="1",b="2"}"#, r#"{}/{a="1",b="2"}#0"#));
        assert_eq!(one.options.group_by, GroupBy::Labels(Vec::new()));
        assert_eq!((one.options.group_wait_ms, one.options.repeat_interval_ms), (1000, 60_000));
        assert!(one.options.mute_time_intervals.is_empty());
        assert_eq!(one.group_labels(&Labels::from_pairs([("a", "1")])), Labels::empty());
    }

    #[test]
    fn a_last_match_with_continue_does_not_fall_back() {
        let t = tree(
            r#"{"receiver":"root","routes":[{"matchers":["a=1"],"receiver":"one","continue":true},{"matchers":["a=2"],"receiver":"two"}]}"#,
        );
        assert_eq!(receivers(&t, &[("a", "1")]), ["one"]);
        assert_eq!(receivers(&t, &[("a", "3")]), ["root"]);
        assert!(RouteTree::default().matching(&Labels::empty()).is_empty());
    }
}
