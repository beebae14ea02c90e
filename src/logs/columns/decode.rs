//! Decodes the columns of a row group.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::column::{Column, push_integer, take_strings};
use super::group_header::{Chunk, Form, Node};
use super::packed;
use super::row_group::RowGroup;
use super::strings::Strings;
use crate::logs::error::Error;

/// Appends bytes as hexadecimal digits.
fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |n: u8| DIGITS.get(usize::from(n)).copied().unwrap_or('0');
    out.extend(bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]));
}

impl RowGroup {
    pub(super) fn decoded<'g>(&self, node: &'g Node) -> Result<&'g Arc<Column>, Error> {
        if let Some(column) = node.decoded.get() {
            return Ok(column);
        }
        let column = Arc::new(self.decode(node)?);
        Ok(node.decoded.get_or_init(|| column))
    }

    fn checked_bytes(&self, node: &Node, chunk: &Chunk) -> Result<&[u8], Error> {
        if node.checked.load(Ordering::Relaxed) {
            return Ok(self.raw_bytes(chunk));
        }
        let bytes = self.bytes(chunk)?;
        node.checked.store(true, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Appends one value. With `few` the column is not decoded where that is possible: it is for callers who want few of its values.
    pub(super) fn push_value(&self, node: &Node, place: usize, few: bool, out: &mut String) -> Result<(), Error> {
        let unreadable = || self.damaged("a column cannot be read");
        if !few || node.decoded.get().is_some() {
            self.decoded(node)?.push_to(place, out);
            return Ok(());
        }
        match &node.form {
            Form::Constant(value) => out.push_str(value),
            Form::Integers { width, chunk } => {
                let value = packed::integer_at(self.checked_bytes(node, chunk)?, node.len, place);
                push_integer(out, value.ok_or_else(unreadable)?, *width);
            }
            Form::Hex { text_bytes, chunk } => {
                let half = text_bytes / 2;
                let value = self.checked_bytes(node, chunk)?.get(place * half..(place + 1) * half);
                push_hex(out, value.ok_or_else(unreadable)?);
            }
            Form::Split(shaped) => {
                let ids = self.shape_ids(shaped)?;
                let (id, place) = match &ids {
                    None => (0, place),
                    Some(ids) => {
                        let id = ids.get(place).copied().ok_or_else(unreadable)?;
                        (id, ids.iter().take(place).filter(|i| **i == id).count())
                    }
                };
                let (skeleton, _, nodes) = shaped.shapes.get(usize::from(id)).ok_or_else(unreadable)?;
                skeleton.fill(out, |v, out| self.push_value(nodes.get(v).ok_or_else(unreadable)?, place, few, out))?;
            }
            Form::Dictionary { .. } | Form::Strings(_) => self.decoded(node)?.push_to(place, out),
        }
        Ok(())
    }

    fn decode(&self, node: &Node) -> Result<Column, Error> {
        let unreadable = || self.damaged("a column cannot be read");
        let len = node.len;
        Ok(match &node.form {
            Form::Constant(value) => Column::Constant { value: value.clone(), len },
            Form::Integers { width, chunk } => {
                let values = packed::take_integers(&mut self.bytes(chunk)?, len).ok_or_else(unreadable)?;
                Column::Integers { values, width: *width }
            }
            Form::Dictionary { values, chunk } => {
                let mut input = self.bytes(chunk)?;
                let texts = take_strings(&mut input, *values).ok_or_else(unreadable)?;
                let width = packed::width_of(*values as u64 - 1);
                if input.len() != packed::packed_len(len, width) {
                    return Err(unreadable());
                }
                let codes: Vec<u16> = packed::unpack(input, width, len).map(|c| c as u16).collect();
                if codes.iter().any(|c| usize::from(*c) >= *values) {
                    return Err(unreadable());
                }
                Column::Dictionary { values: texts, codes }
            }
            Form::Hex { text_bytes, chunk } => {
                let bytes = self.bytes(chunk)?;
                if *text_bytes == 0 || bytes.len() != (text_bytes / 2).saturating_mul(len) {
                    return Err(unreadable());
                }
                let mut strings = Strings::with_capacity(len, bytes.len() * 2);
                for value in bytes.chunks_exact(text_bytes / 2) {
                    strings.push_with(|out| push_hex(out, value));
                }
                Column::Strings(strings)
            }
            Form::Strings(chunk) => {
                let mut input = self.bytes(chunk)?;
                let strings = take_strings(&mut input, len).filter(|_| input.is_empty()).ok_or_else(unreadable)?;
                Column::Strings(strings)
            }
            Form::Split(shaped) => {
                let ids = self.shape_ids(shaped)?;
                let mut at = vec![0usize; shaped.shapes.len()];
                let columns = shaped
                    .shapes
                    .iter()
                    .map(|(_, _, nodes)| nodes.iter().map(|n| self.decoded(n)).collect::<Result<Vec<_>, Error>>())
                    .collect::<Result<Vec<_>, Error>>()?;
                let mut strings = Strings::with_capacity(len, len * 16);
                for place in 0..len {
                    let id = ids.as_ref().map_or(0, |ids| ids.get(place).copied().map_or(0, usize::from));
                    let (Some((skeleton, ..)), Some(at), Some(columns)) =
                        (shaped.shapes.get(id), at.get_mut(id), columns.get(id))
                    else {
                        return Err(unreadable());
                    };
                    strings.push_with(|out| {
                        let filled: Result<(), std::convert::Infallible> = skeleton.fill(out, |v, out| {
                            if let Some(column) = columns.get(v) {
                                column.push_to(*at, out);
                            }
                            Ok(())
                        });
                        let Ok(()) = filled;
                    });
                    *at += 1;
                }
                Column::Strings(strings)
            }
        })
    }
}
