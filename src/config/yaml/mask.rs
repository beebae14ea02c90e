//! Which values are secret, by the names of their keys, and how they are kept out of messages.

use crate::config::secret::MASK;
use crate::config::yaml::{Kind, Node, Path, Step};

/// Names whose value is secret whatever they stand in: Prometheus', Alertmanager's and campanile's own.
const EXACT: [&str; 9] = [
    "proxy_url",
    "key",
    "slack_api_url",
    "webhook_url",
    "basic_auth_users",
    "cookie",
    "authorization",
    "auth",
    "x-api-key",
];

/// Ends of names whose value is secret.
const ENDS: [&str; 11] = [
    "password",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "token_id",
    "credentials",
    "webhook_url",
    "_key",
    "-key",
    "-token",
];

/// Whether the value of this key, given the keys above it (the root's first), must not be shown.
pub fn is_secret_key(key: &str, above: &[&str]) -> bool {
    let key = key.to_ascii_lowercase();
    // `authorization:` as a section is a map of its own (type, credentials); as a header it is a scalar. Both are
    // told apart by the caller: only scalars are masked.
    if EXACT.contains(&key.as_str()) || ENDS.iter().any(|e| key.ends_with(e)) {
        return true;
    }
    // The address of a chat's or a hook's receiver is the key to it.
    let receiver = above.iter().rev().find(|k| k.ends_with("_configs"));
    match receiver {
        Some(&("webhook_configs" | "slack_configs" | "discord_configs" | "msteams_configs" | "msteamsv2_configs")) => {
            matches!(key.as_str(), "url" | "api_url" | "webhook_url")
        }
        Some(_) | None => false,
    }
}

/// Calls `found` with every scalar that is secret, either by its key or by the key of something above it.
fn walk<'a>(node: &'a Node, above: &mut Vec<&'a str>, secret: bool, found: &mut impl FnMut(&'a str, bool)) {
    match &node.kind {
        Kind::Null | Kind::Pruned => {}
        Kind::Scalar { text, unexpanded, .. } => {
            if secret || unexpanded.is_some() {
                found(text, secret);
            }
        }
        Kind::Seq(items) => items.iter().for_each(|n| walk(n, above, secret, found)),
        Kind::Map(entries) => {
            for e in entries {
                let is_section = matches!(e.value.kind, Kind::Map(_)) && e.key == "authorization";
                let below = secret || (!is_section && is_secret_key(&e.key, above));
                above.push(&e.key);
                walk(&e.value, above, below, found);
                above.pop();
            }
        }
    }
}

/// A message about the node at `path` without the secrets (or the values of environment variables) in or below it.
pub fn mask_message(root: &Node, path: &Path, message: &str) -> String {
    let mut above: Vec<&str> = Vec::new();
    let mut secret = false;
    for step in path.steps() {
        if let Step::Key(k) = step {
            secret |= is_secret_key(k, &above);
            above.push(k);
        }
    }
    let node = root.nearest(path);
    secret &= !matches!(node.kind, Kind::Map(_));
    let mut out = mask_url_passwords(message);
    let mut hide = Vec::new();
    walk(node, &mut above, secret, &mut |text, _| hide.push(text));
    // Longest first: a secret may contain another.
    hide.sort_by_key(|t| std::cmp::Reverse(t.len()));
    for text in hide {
        // A short one would also tear words of the message apart; what is that short is no secret, but hide the message.
        if text.is_empty() {
            continue;
        }
        let escaped = text.escape_debug().to_string();
        if text.len() < 4 && (out.contains(text) || out.contains(&escaped)) {
            return "the value is not valid (it is secret and not shown)".to_owned();
        }
        out = out.replace(text, MASK).replace(&escaped, MASK);
    }
    out
}

/// Replaces the password in `scheme://user:password@host`, wherever such an address stands in a text.
pub fn mask_url_passwords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        rest = after;
        let end = after.find(['/', ' ', '"', '\'', '?', '#']).unwrap_or(after.len());
        let authority = after.get(..end).unwrap_or("");
        if let Some((user, _host)) = authority.rsplit_once('@')
            && let Some((name, _password)) = user.split_once(':')
        {
            out.push_str(name);
            out.push(':');
            out.push_str(MASK);
            rest = after.get(user.len()..).unwrap_or("");
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_secret_names() {
        for (key, above, want) in [
            ("password", &[][..], true),
            ("password_file", &[], false),
            ("bearer_token", &[], true),
            ("key_file", &[], false),
            ("smtp_auth_password", &["alertmanager", "global"], true),
            ("routing_key", &["receivers", "pagerduty_configs"], true),
            ("url", &["receivers", "webhook_configs"], true),
            ("url", &["remote_write"], false),
            ("rocketchat_token_id", &["global"], true),
            ("job_name", &[], false),
            ("X-Api-Key", &["headers"], true),
        ] {
            assert_eq!(is_secret_key(key, above), want, "{key}");
        }
    }

    #[test]
    fn masks_passwords_in_addresses() {
        for (text, want) in [
            ("http://u:p@h/x", "http://u:<secret>@h/x"),
            ("bad url \"http://u:p@h\": no", "bad url \"http://u:<secret>@h\": no"),
            ("http://u:p@ss@h/", "http://u:<secret>@h/"),
            ("http://h:9090/a@b:c", "http://h:9090/a@b:c"),
            ("http://u@h", "http://u@h"),
        ] {
            assert_eq!(mask_url_passwords(text), want);
        }
    }
}
