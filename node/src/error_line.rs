//! An error with its sources, as people read it: on one line.

use std::error::Error;

/// `error` and its sources on one line, without what a message repeats of its source.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = flat(&error.to_string());
    let mut source = error.source();
    while let Some(error) = source {
        let text = flat(&error.to_string());
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = error.source();
    }
    line
}

/// The words of `text` with single spaces between them.
pub(crate) fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
