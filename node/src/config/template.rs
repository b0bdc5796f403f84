//! The configuration as text: the file that `lapis init` writes, and what `lapis config show` prints.

use super::{Config, GroupInfo, Key, Loaded};

const PREAMBLE: &str = "\
# Configuration of a Lapis node.
#
# Every key is shown with its default; remove the # in front of it to change it. Sizes and times are written with their
# units: \"64 MiB\", \"30s\". Each key can also be set by a variable of the environment, which wins over this file:
# LAPIS_<TABLE>__<KEY>, for example LAPIS_SYNC__MAX_BUFFERED_BYTES=\"128 MiB\". Flags win over both.
# `lapis config show --dir DIR` prints what is in force, and where each value comes from.
";

/// The file with every key, its description and, commented out, its default.
pub fn commented() -> String {
    let defaults = Config::default();
    let mut text = PREAMBLE.to_owned();
    for group in Config::GROUPS {
        text.push('\n');
        push_docs(&mut text, group.docs);
        push_line(&mut text, &format!("[{}]", group.name));
        for key in group.keys {
            push_key(&mut text, &defaults, group, key);
        }
    }
    text
}

/// The values in force as TOML, each with its origin as a comment.
pub fn effective(loaded: &Loaded) -> String {
    let mut text = String::new();
    for group in Config::GROUPS {
        if !text.is_empty() {
            text.push('\n');
        }
        push_line(&mut text, &format!("[{}]", group.name));
        for key in group.keys {
            let origin = loaded.origin(group.name, key.name);
            let line = match loaded.config.show(group.name, key.name) {
                Some(value) => format!("{} = {value}  # {origin}", key.name),
                None => format!("# {} is not set", key.name),
            };
            push_line(&mut text, &line);
        }
    }
    text
}

fn push_key(text: &mut String, defaults: &Config, group: &GroupInfo, key: &Key) {
    text.push('\n');
    push_docs(text, key.docs);
    push_line(text, &format!("# It is {}.", key.shape));
    match defaults.show(group.name, key.name) {
        Some(value) => push_line(text, &format!("#{} = {value}", key.name)),
        None => push_line(text, &format!("# {} is not set by default.", key.name)),
    }
}

fn push_docs(text: &mut String, docs: &[&str]) {
    docs.iter().for_each(|line| push_line(text, &format!("#{line}")));
}

fn push_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
