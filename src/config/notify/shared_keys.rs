//! Keys that many kinds of receivers have. Macros put them in instead of `serde(flatten)`, under which an unknown key or a wrong value
//! would lose its place in the file.

/// Declares a receiver that is told over HTTP: it has the keys of all such and its own.
macro_rules! http_receiver {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            /// Whether the end of alerts is told too.
            pub send_resolved: bool,
            /// HTTP options; those of `global` if not given.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub http_config: Option<crate::config::http_client::HttpClientConfig>,
            $($own)*
        }
    };
}

/// Declares a receiver that is told over HTTP at one secret address, and the check that it has it.
macro_rules! hook_receiver {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($own:tt)* }
    ) => {
        crate::config::notify::http_receiver! {
            $(#[$meta])*
            pub struct $name {
                /// The webhook, which is a secret.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub webhook_url: Option<crate::config::Secret>,
                /// File of the same, read again on each use.
                #[serde(skip_serializing_if = "Option::is_none")]
                pub webhook_url_file: Option<String>,
                $($own)*
            }
        }

        impl $name {
            pub(super) fn validate(&self, path: &str, problems: &mut crate::config::Problems) {
                let (url, file) = (self.webhook_url.as_ref(), self.webhook_url_file.as_ref());
                super::needs_url(path, "webhook_url", url, file, problems);
            }
        }
    };
}

pub(super) use {hook_receiver, http_receiver};
