//! The values of a block's columns as programs use them: distinct values with a code for each place, what conditions say of
//! each, which number each is. Worked out once for each block, however many streams are in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use super::fields::{Decoding, Field, Source};
use super::{Column, RowBlock};
use crate::logql::stages::label_filter::{LabelTest, Verdict};
use crate::logql::stages::unwrap::CompiledUnwrap;
use crate::logql::storage::StorageError;

/// Whole numbers that lie closer together than this get their codes from a table.
const TABLE: u64 = 1 << 16;

/// A column of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A variable of the shape of that place.
    Line(usize, usize),
    /// A name of the set of metadata of that place.
    Metadata(usize, usize),
}

/// What a condition says of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It stays.
    Keep,
    /// It goes.
    Drop,
    /// Its line has to be read.
    Line,
}

/// What `unwrap` makes of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// It has no such label.
    None,
    /// This.
    Some(f64),
    /// Its line has to be read.
    Line,
}

/// Which of the distinct values each place has.
#[derive(Debug)]
pub enum Codes {
    /// There is one value.
    One,
    /// By place.
    Each(Vec<u32>),
}

impl Codes {
    /// The code of a place.
    pub fn get(&self, place: usize) -> usize {
        match self {
            Codes::One => 0,
            Codes::Each(codes) => codes.get(place).copied().unwrap_or(0) as usize,
        }
    }
}

/// Distinct values of a column.
#[derive(Debug)]
pub struct Coded {
    /// By place.
    pub codes: Codes,
    /// By code; `None` where the line has to be read.
    pub values: Vec<Option<String>>,
}

/// Something known of each value of a column, by place or by code.
#[derive(Clone, Debug)]
pub struct Known<T> {
    codes: Option<Rc<Coded>>,
    list: Rc<Vec<T>>,
}

impl<T: Copy> Known<T> {
    /// What is known of the value at a place.
    pub fn get(&self, place: usize) -> Option<T> {
        let i = self.codes.as_ref().map_or(place, |c| c.codes.get(place));
        self.list.get(i).copied()
    }
}

/// See the module.
pub struct BlockValues<'b> {
    block: &'b dyn RowBlock,
    columns: HashMap<Place, Rc<Column>>,
    coded: HashMap<(Place, Decoding), Rc<Coded>>,
    answers: HashMap<(Place, Field, usize), Known<Answer>>,
    numbers: HashMap<(Place, Field), Known<Number>>,
}

/// Where the column of a field is in the block; nothing for constants.
pub fn place_of(field: &Field, shape: usize, set: usize) -> Option<(Place, Decoding)> {
    match field.source {
        Source::Constant(_) => None,
        Source::Variable(i, decoding) => Some((Place::Line(shape, i), decoding)),
        Source::Metadata(i) => Some((Place::Metadata(set, i), Decoding::Plain)),
    }
}

impl<'b> BlockValues<'b> {
    /// Of a block.
    pub fn new(block: &'b dyn RowBlock) -> Self {
        BlockValues {
            block,
            columns: HashMap::new(),
            coded: HashMap::new(),
            answers: HashMap::new(),
            numbers: HashMap::new(),
        }
    }

    fn column(&mut self, place: Place) -> Result<Rc<Column>, StorageError> {
        if let Some(c) = self.columns.get(&place) {
            return Ok(c.clone());
        }
        let column = Rc::new(match place {
            Place::Line(shape, variable) => self.block.column(shape, variable)?,
            Place::Metadata(set, name) => self.block.metadata_column(set, name)?,
        });
        self.columns.insert(place, column.clone());
        Ok(column)
    }

    /// The distinct values of a column.
    pub fn coded(&mut self, place: Place, decoding: Decoding) -> Result<Rc<Coded>, StorageError> {
        if let Some(c) = self.coded.get(&(place, decoding)) {
            return Ok(c.clone());
        }
        let coded = Rc::new(code(&*self.column(place)?, decoding));
        self.coded.insert((place, decoding), coded.clone());
        Ok(coded)
    }

    /// What a condition, the query's `number`th, says of a field.
    pub fn answers(
        &mut self,
        number: usize,
        test: &LabelTest,
        field: &Field,
        (place, decoding): (Place, Decoding),
    ) -> Result<Known<Answer>, StorageError> {
        let key = (place, field.clone(), number);
        if let Some(known) = self.answers.get(&key) {
            return Ok(known.clone());
        }
        let column = self.column(place)?;
        let direct = match &*column {
            Column::Integers { values, .. } => values.iter().map(|v| test.judge_integer(*v).map(keep_if)).collect(),
            _ => None,
        };
        let known = match direct {
            Some(list) => Known { codes: None, list: Rc::new(list) },
            None => {
                let coded = self.coded(place, decoding)?;
                let answer = |value: &Option<String>| match value {
                    None => Answer::Line,
                    Some(v) => {
                        match test.judge(Some(v.as_str()).filter(|v| !(field.empty_is_absent && v.is_empty()))) {
                            Verdict::Keep => Answer::Keep,
                            Verdict::Drop => Answer::Drop,
                            Verdict::Fail(_) => Answer::Line,
                        }
                    }
                };
                Known { list: Rc::new(coded.values.iter().map(answer).collect()), codes: Some(coded) }
            }
        };
        self.answers.insert(key, known.clone());
        Ok(known)
    }

    /// Which numbers `unwrap` makes of a field.
    pub fn numbers(
        &mut self,
        unwrap: &CompiledUnwrap,
        field: &Field,
        (place, decoding): (Place, Decoding),
    ) -> Result<Known<Number>, StorageError> {
        let key = (place, field.clone());
        if let Some(known) = self.numbers.get(&key) {
            return Ok(known.clone());
        }
        let column = self.column(place)?;
        let known = match &*column {
            Column::Integers { values, .. } if unwrap.is_plain() => {
                Known { codes: None, list: Rc::new(values.iter().map(|v| Number::Some(*v as f64)).collect()) }
            }
            _ => {
                let coded = self.coded(place, decoding)?;
                let number = |value: &Option<String>| match value.as_deref() {
                    None => Number::Line,
                    Some("") => Number::None,
                    Some(v) => unwrap.convert(v).map_or(Number::Line, Number::Some),
                };
                Known { list: Rc::new(coded.values.iter().map(number).collect()), codes: Some(coded) }
            }
        };
        self.numbers.insert(key, known.clone());
        Ok(known)
    }
}

fn keep_if(holds: bool) -> Answer {
    if holds { Answer::Keep } else { Answer::Drop }
}

fn code(column: &Column, decoding: Decoding) -> Coded {
    let value = |text: &str| decoding.value(text).map(std::borrow::Cow::into_owned);
    match column {
        Column::Constant(text) => Coded { codes: Codes::One, values: vec![value(text)] },
        Column::Dictionary { values, codes } => Coded {
            codes: Codes::Each(codes.clone()),
            values: (0..values.len()).map(|i| value(values.get(i))).collect(),
        },
        Column::Integers { values, width } => {
            let (codes, distinct) = code_integers(values);
            let width = *width;
            Coded { codes: Codes::Each(codes), values: distinct.iter().map(|v| Some(format!("{v:0width$}"))).collect() }
        }
        Column::Texts(texts) => {
            let mut known: HashMap<&str, u32> = HashMap::new();
            let mut distinct = Vec::new();
            let codes = (0..texts.len())
                .map(|i| {
                    let text = texts.get(i);
                    *known.entry(text).or_insert_with(|| {
                        distinct.push(value(text));
                        distinct.len() as u32 - 1
                    })
                })
                .collect();
            Coded { codes: Codes::Each(codes), values: distinct }
        }
    }
}

/// Codes in order of appearance, and the distinct numbers.
fn code_integers(values: &[i64]) -> (Vec<u32>, Vec<i64>) {
    let (Some(low), Some(high)) = (values.iter().min(), values.iter().max()) else { return (Vec::new(), Vec::new()) };
    let mut distinct = Vec::new();
    let mut new = |v: i64| {
        distinct.push(v);
        distinct.len() as u32
    };
    let span = high.abs_diff(*low);
    let codes = if span < TABLE {
        // Codes plus one; 0 is not seen yet.
        let mut table = vec![0u32; span as usize + 1];
        let code = |v: &i64| match table.get_mut(v.abs_diff(*low) as usize) {
            Some(slot) => {
                if *slot == 0 {
                    *slot = new(*v);
                }
                *slot - 1
            }
            None => 0,
        };
        values.iter().map(code).collect()
    } else {
        let mut known: HashMap<i64, u32, BuildHasherDefault<IntegerHasher>> = HashMap::default();
        values.iter().map(|v| *known.entry(*v).or_insert_with(|| new(*v)) - 1).collect()
    };
    (codes, distinct)
}

/// Hashes one number by a multiplication; nobody chooses these numbers to collide within eight thousand rows for more than a
/// slower query.
#[derive(Default)]
struct IntegerHasher(u64);

impl Hasher for IntegerHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(u64::from(*b));
        }
    }

    fn write_i64(&mut self, n: i64) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        let mixed = (self.0.rotate_left(5) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn codes_lead_back_to_values() {
        let texts: Arc<dyn super::super::Texts> = Arc::new(vec!["a".to_owned(), r"b\n".to_owned(), "a".to_owned()]);
        for (column, decoding, want) in [
            (Column::Constant("x".to_owned()), Decoding::Plain, vec!["x", "x", "x"]),
            (
                Column::Dictionary { values: texts.clone(), codes: vec![1, 0, 1] },
                Decoding::Escaped,
                vec!["b\n", "a", "b\n"],
            ),
            (Column::Integers { values: vec![7, -3, 7], width: 0 }, Decoding::Plain, vec!["7", "-3", "7"]),
            (Column::Integers { values: vec![7, 123, 7], width: 3 }, Decoding::Plain, vec!["007", "123", "007"]),
            (
                Column::Integers { values: vec![i64::MIN, i64::MAX, 0], width: 0 },
                Decoding::Plain,
                vec!["-9223372036854775808", "9223372036854775807", "0"],
            ),
            (Column::Texts(texts), Decoding::Plain, vec!["a", r"b\n", "a"]),
        ] {
            let coded = code(&column, decoding);
            let got: Vec<_> = (0..3).map(|i| coded.values[coded.codes.get(i)].clone().unwrap()).collect();
            assert_eq!(got, want);
        }
    }
}
