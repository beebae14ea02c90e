//! Row groups: some thousand log entries as columns.
//!
//! Lines are taken apart without loss ([`skeleton`]): what lines of a shape have in common stands once, what varies stands in
//! columns ([`column`]), each in the form that suits its values. A column is read by itself, so that a query reads what it
//! needs. Columns of texts are taken apart once more where that pays.

pub mod column;
mod column_writer;
mod decode;
mod group_header;
pub(in crate::logs) mod group_writer;
pub(in crate::logs) mod needle;
mod packed;
mod row_group;
mod row_set;
mod select;
mod select_metadata;
pub mod skeleton;
mod split;
mod split_json;
mod split_logfmt;
pub mod strings;

pub use column::Column;
pub use row_group::{GroupStream, Levels, MetadataRows, RowGroup, Rows, Sizes, SkeletonRows};
pub use row_set::RowSet;
pub use skeleton::{Kind, Skeleton, VariableKind};
pub use strings::Strings;

pub(in crate::logs) use column_writer::integer_text;
pub(in crate::logs) use select::select;
pub(in crate::logs) use select_metadata::rows_with;
pub(in crate::logs) use skeleton::literals;

#[cfg(test)]
mod tests;
