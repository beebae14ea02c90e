//! Protobuf's wire format (protobuf.dev/programming-guides/encoding): fields walked without copying, and small messages written.

use crate::disk::varint::{put_bytes, put_u64, take_bytes, take_u64};

/// The bytes are no protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// A field goes past the end.
    #[error("unexpected EOF")]
    Cut,
    /// A kind of field that does not exist (any more).
    #[error("unknown wire type")]
    WireType,
    /// A text is not UTF-8, where nothing else can be made of it.
    #[error("{0} is not UTF-8")]
    Utf8(&'static str),
    /// Messages inside messages, more than anybody sends.
    #[error("values are nested too deep")]
    Depth,
    /// A value that cannot be, such as a time past the year 2262.
    #[error("{0} out of range")]
    Range(&'static str),
}

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Field<'a> {
    /// Integers, booleans, enumerations.
    Varint(u64),
    /// Eight bytes: `fixed64`, `sfixed64`, `double`.
    Fixed64(u64),
    /// Four bytes: `fixed32`, `float`.
    Fixed32(u32),
    /// Texts, bytes, messages.
    Bytes(&'a [u8]),
}

/// Takes the next field with its number off the front of `input`; `None` at the end.
#[inline]
pub fn next_field<'a>(input: &mut &'a [u8]) -> Result<Option<(u64, Field<'a>)>, ProtobufError> {
    if input.is_empty() {
        return Ok(None);
    }
    let tag = take_u64(input).ok_or(ProtobufError::Cut)?;
    let field = match tag & 7 {
        0 => Field::Varint(take_u64(input).ok_or(ProtobufError::Cut)?),
        1 => {
            let (head, tail) = input.split_first_chunk::<8>().ok_or(ProtobufError::Cut)?;
            *input = tail;
            Field::Fixed64(u64::from_le_bytes(*head))
        }
        2 => Field::Bytes(take_bytes(input).ok_or(ProtobufError::Cut)?),
        5 => {
            let (head, tail) = input.split_first_chunk::<4>().ok_or(ProtobufError::Cut)?;
            *input = tail;
            Field::Fixed32(u32::from_le_bytes(*head))
        }
        _ => return Err(ProtobufError::WireType),
    };
    Ok(Some((tag >> 3, field)))
}

/// Appends a text, bytes or a message.
pub fn put_field_bytes(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_u64(out, number << 3 | 2);
    put_bytes(out, bytes);
}

/// Appends an integer.
pub fn put_field_varint(out: &mut Vec<u8>, number: u64, value: u64) {
    put_u64(out, number << 3);
    put_u64(out, value);
}

/// Appends a double.
pub fn put_double(out: &mut Vec<u8>, number: u64, v: f64) {
    put_u64(out, number << 3 | 1);
    out.extend_from_slice(&v.to_le_bytes());
}

/// Appends doubles, packed; nothing if there are none.
pub fn put_doubles(out: &mut Vec<u8>, number: u64, values: &[f64]) {
    if !values.is_empty() {
        let packed: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        put_field_bytes(out, number, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_and_damage_is_an_error() {
        let mut message = Vec::new();
        put_field_varint(&mut message, 1, 300);
        put_field_bytes(&mut message, 2, b"text");
        message.extend([3 << 3 | 1, 1, 0, 0, 0, 0, 0, 0, 0, 4 << 3 | 5, 2, 0, 0, 0]);
        let mut input = message.as_slice();
        let mut found = Vec::new();
        while let Some(f) = next_field(&mut input).unwrap() {
            found.push(f);
        }
        let expected =
            [(1, Field::Varint(300)), (2, Field::Bytes(b"text")), (3, Field::Fixed64(1)), (4, Field::Fixed32(2))];
        assert_eq!(found, expected);
        for cut in 0..message.len() {
            let mut input = &message[..cut];
            let end = loop {
                match next_field(&mut input) {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(e) => break Some(e),
                }
            };
            let between_fields = [0, 3, 9, 18].contains(&cut);
            assert_eq!(end, (!between_fields).then_some(ProtobufError::Cut), "{cut}");
        }
        assert_eq!(next_field(&mut [3 << 3 | 3].as_slice()), Err(ProtobufError::WireType));
    }
}
