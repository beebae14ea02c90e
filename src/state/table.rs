//! The tables of the state file.

use redb::TableDefinition;

/// One table; keys and values are bytes whose form belongs to the module that writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// The file's own facts: format version, when the process was last seen alive.
    Meta,
    /// Silences by id.
    Silences,
    /// What was told to whom, by receiver, integration and group key.
    Nflog,
    /// Notifications that are to be sent and whose outcome is not known yet, by id.
    Intents,
    /// Alerts by fingerprint.
    Alerts,
    /// Snapshots of the rules' alert state, opaque, by group key.
    RuleState,
    /// Pings of heartbeats, by name.
    Heartbeats,
}

impl Table {
    /// All of them.
    pub const ALL: [Table; 7] = [
        Table::Meta,
        Table::Silences,
        Table::Nflog,
        Table::Intents,
        Table::Alerts,
        Table::RuleState,
        Table::Heartbeats,
    ];

    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            Table::Meta => "meta",
            Table::Silences => "silences",
            Table::Nflog => "nflog",
            Table::Intents => "intents",
            Table::Alerts => "alerts",
            Table::RuleState => "rule_state",
            Table::Heartbeats => "heartbeats",
        })
    }
}
