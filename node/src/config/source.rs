//! The notation of the file: TOML with line numbers.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::setting::Raw;

/// An entry of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Line of the key, from 1.
    pub(super) line: usize,
    /// Table; `None` above the first one.
    pub(super) group: Option<String>,
    /// Key; `None` for an empty table.
    pub(super) key: Option<String>,
    pub(super) value: Raw,
}

/// Why a text is not TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Line, from 1.
    pub(super) line: usize,
    /// What the parser says, on one line.
    pub(super) message: String,
}

/// The entries of `text` in its order.
pub(super) fn entries(text: &str) -> Result<Vec<Entry>, SyntaxError> {
    let document = DeTable::parse(text).map_err(|error| SyntaxError {
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        message: error.message().replace('\n', "; "),
    })?;
    let mut entries = Vec::new();
    for (name, value) in document.get_ref() {
        let line = line_at(text, name.span().start);
        match value.get_ref() {
            DeValue::Table(table) => entries_of(text, name.get_ref(), line, table, &mut entries),
            _ => entries.push(Entry {
                line,
                group: None,
                key: Some(name.get_ref().to_string()),
                value: raw(text, value),
            }),
        }
    }
    entries.sort_by_key(|entry| entry.line);
    Ok(entries)
}

fn entries_of(text: &str, group: &str, line: usize, table: &DeTable<'_>, entries: &mut Vec<Entry>) {
    if table.is_empty() {
        entries.push(Entry { line, group: Some(group.to_owned()), key: None, value: Raw::List(Vec::new()) });
    }
    for (key, value) in table {
        entries.push(Entry {
            line: line_at(text, key.span().start),
            group: Some(group.to_owned()),
            key: Some(key.get_ref().to_string()),
            value: raw(text, value),
        });
    }
}

fn raw(text: &str, value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(string) => Raw::Text(string.to_string()),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Integer(number),
            Err(_) => Raw::Foreign(number.to_string()),
        },
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(text, item)).collect()),
        DeValue::Float(_) | DeValue::Datetime(_) => Raw::Foreign(text.get(value.span()).unwrap_or("").to_owned()),
        DeValue::Table(_) => Raw::Foreign("a table".to_owned()),
    }
}

/// Line of the byte at `offset`, from 1.
fn line_at(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
