//! Syslog: messages of RFC 5424 and RFC 3164, and how a stream of them is cut into frames (RFC 6587, RFC 5425).

pub mod framing;
mod rfc3164;
mod rfc5424;

use std::borrow::Cow;

use chrono_tz::Tz;

use crate::model::TimestampNs;

/// The numerical facilities of RFC 5424, section 6.2.1, by their usual names.
pub const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];
/// The severities of the same section.
pub const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];

/// Which form a message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164, the older one, as far as a message keeps to it.
    Rfc3164,
    /// Neither: there is no priority in front. The whole is the text, as RFC 3164, section 4.3.3, tells relays to do.
    Plain,
}

/// The time in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTime {
    /// When.
    pub ns: TimestampNs,
    /// Whether it says whole seconds only.
    pub whole_seconds: bool,
}

/// One message. Fields that are not there are empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// Which form.
    pub form: Form,
    /// Facility and severity; `user` and `notice` where the message does not say.
    pub priority: Option<u8>,
    /// When, if it says so.
    pub time: Option<MessageTime>,
    /// Who sent it.
    pub hostname: &'a str,
    /// Which program.
    pub app_name: &'a str,
    /// Its process.
    pub proc_id: &'a str,
    /// The kind of message.
    pub msg_id: &'a str,
    /// Structured data: element, parameter, value.
    pub structured_data: Vec<(&'a str, &'a str, Cow<'a, str>)>,
    /// The text.
    pub text: &'a str,
}

/// The priority of messages that give none (RFC 3164, section 4.3.3): user, notice.
const DEFAULT_PRIORITY: u8 = 13;

impl<'a> Message<'a> {
    fn plain(text: &'a str) -> Self {
        Message {
            form: Form::Plain,
            priority: None,
            time: None,
            hostname: "",
            app_name: "",
            proc_id: "",
            msg_id: "",
            structured_data: Vec::new(),
            text,
        }
    }

    /// The name of the facility.
    pub fn facility(&self) -> &'static str {
        FACILITIES.get(usize::from(self.priority.unwrap_or(DEFAULT_PRIORITY) >> 3)).copied().unwrap_or("user")
    }

    /// The name of the severity.
    pub fn severity(&self) -> &'static str {
        SEVERITIES.get(usize::from(self.priority.unwrap_or(DEFAULT_PRIORITY) & 7)).copied().unwrap_or("notice")
    }
}

/// Reads one message. Anything is a message: what has no form is text. `now_ns` tells the year of an RFC 3164 time, `zone` where
/// its clock stands.
pub fn parse(text: &str, now_ns: TimestampNs, zone: Tz) -> Message<'_> {
    let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\r', '\n', '\0']);
    let Some((priority, rest)) = priority(text) else { return Message::plain(text) };
    let message = rfc5424::parse(rest).unwrap_or_else(|| rfc3164::parse(rest, now_ns, zone));
    Message { priority: Some(priority), ..message }
}

/// `<0>` to `<191>`.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
    let fine = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u8 = if fine { digits.parse().ok()? } else { return None };
    (number <= 191).then_some((number, rest))
}

#[cfg(test)]
mod tests;
