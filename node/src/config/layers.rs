//! Laying the sources of values over one another, and remembering which one won.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    Config,
    declare::Refusal,
    rules::{self, Broken},
    setting::Raw,
    source,
};

/// Largest configuration file that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Start of the environment's variables.
const VARIABLE_PREFIX: &str = "LAPIS_";
/// Between group and key in a variable's name.
const VARIABLE_SEPARATOR: &str = "__";

/// How alike (0 to 1) a name must be to be worth suggesting.
const SUGGESTION_THRESHOLD: f64 = 0.6;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was not set.
    Default,
    /// A line of the file.
    File {
        /// Name of the file.
        name: String,
        /// Line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("configuration {path} has more than {MAX_FILE_BYTES} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not text.
    #[error("configuration {path} is not UTF-8 text")]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML.
    #[error("{name}:{line}: not valid TOML: {message}")]
    Syntax {
        /// Name of the file.
        name: String,
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key {key}{}", .nearest.as_ref().map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    UnknownKey {
        /// Who set it.
        origin: Origin,
        /// What was set.
        key: String,
        /// The known key that is most alike.
        nearest: Option<String>,
    },
    /// The value has another shape.
    #[error("{origin}: {key} is {found}, it must be {shape}")]
    Mismatch {
        /// Who set it.
        origin: Origin,
        /// The key.
        key: String,
        /// The value, or the part of it, that does not fit.
        found: Box<Raw>,
        /// What would be right.
        shape: &'static str,
    },
    /// The values do not go together.
    #[error("{origin}: {}.{} is {value}: {}", .broken.group, .broken.key, .broken.reason)]
    Rule {
        /// Who set it.
        origin: Origin,
        /// The value.
        value: String,
        /// The rule.
        broken: Box<Broken>,
    },
}

/// A configuration in the making. Later layers win.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    loaded: Loaded,
}

/// A checked configuration that knows where its values come from.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    origins: BTreeMap<(String, String), Origin>,
}

impl Layers {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays the file at `path` over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong with the file.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path)?;
        self.file_text(&path.display().to_string(), &text)
    }

    /// Lays the text of a file called `name` over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong with the text.
    pub fn file_text(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        let entries = source::entries(text).map_err(|error| ConfigError::Syntax {
            name: name.to_owned(),
            line: error.line,
            message: error.message,
        })?;
        for entry in entries {
            let origin = Origin::File { name: name.to_owned(), line: entry.line };
            match (entry.group, entry.key) {
                (Some(group), Some(key)) => self.set(&group, &key, &entry.value, origin)?,
                (Some(group), None) if Config::GROUPS.iter().any(|known| known.name == group) => {}
                (group, key) => return Err(unknown(origin, group.or(key).unwrap_or_default())),
            }
        }
        Ok(self)
    }

    /// Lays the variables `LAPIS_<GROUP>__<KEY>` over what is there.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong with them.
    pub fn environment(mut self, variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(path) = name.strip_prefix(VARIABLE_PREFIX) else { continue };
            let Some((group, key)) = path.split_once(VARIABLE_SEPARATOR) else { continue };
            let origin = Origin::Environment(name.to_owned());
            let value = Raw::Word(value.to_string_lossy().into_owned());
            self.set(&group.to_lowercase(), &key.to_lowercase(), &value, origin)?;
        }
        Ok(self)
    }

    /// Lays a flag, or the variable that stands for it, over what is there. Without values nothing changes.
    ///
    /// # Errors
    /// [`ConfigError`] if the values do not fit.
    pub fn given(mut self, group: &str, key: &str, values: &[String], origin: Origin) -> Result<Self, ConfigError> {
        let mut words: Vec<_> = values.iter().cloned().map(Raw::Word).collect();
        let raw = match (words.len(), words.pop()) {
            (_, None) => return Ok(self),
            (1, Some(word)) => word,
            (_, Some(last)) => {
                words.push(last);
                Raw::List(words)
            }
        };
        self.set(group, key, &raw, origin)?;
        Ok(self)
    }

    /// Checks the whole.
    ///
    /// # Errors
    /// [`ConfigError::Rule`] for the first rule that is broken.
    pub fn finish(self) -> Result<Loaded, ConfigError> {
        match rules::check(&self.loaded.config) {
            Ok(()) => Ok(self.loaded),
            Err(broken) => Err(self.loaded.rule_error(broken)),
        }
    }

    fn set(&mut self, group: &str, key: &str, raw: &Raw, origin: Origin) -> Result<(), ConfigError> {
        match self.loaded.config.set(group, key, raw) {
            Ok(()) => {
                self.loaded.origins.insert((group.to_owned(), key.to_owned()), origin);
                Ok(())
            }
            Err(Refusal::UnknownKey) => Err(unknown(origin, format!("{group}.{key}"))),
            Err(Refusal::Mismatch { found, shape }) => {
                Err(ConfigError::Mismatch { origin, key: format!("{group}.{key}"), found: Box::new(found), shape })
            }
        }
    }
}

impl Loaded {
    /// Where the value of `group.key` comes from.
    pub fn origin(&self, group: &str, key: &str) -> &Origin {
        self.origins.get(&(group.to_owned(), key.to_owned())).unwrap_or(&Origin::Default)
    }

    /// Checks what depends on the chain.
    ///
    /// # Errors
    /// [`ConfigError::Rule`] for the first rule that is broken.
    pub fn check_against(&self, genesis: &lapis_protocol_spec::Genesis) -> Result<(), ConfigError> {
        rules::check_against(&self.config, genesis).map_err(|broken| self.rule_error(broken))
    }

    fn rule_error(&self, broken: Broken) -> ConfigError {
        ConfigError::Rule {
            origin: self.origin(broken.group, broken.key).clone(),
            value: self.config.show(broken.group, broken.key).unwrap_or_else(|| "not set".to_owned()),
            broken: Box::new(broken),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

fn unknown(origin: Origin, key: String) -> ConfigError {
    let nearest = nearest(&key);
    ConfigError::UnknownKey { origin, key, nearest }
}

/// The known key that is most alike, compared as a whole and by its last part (for a key in the wrong table).
fn nearest(given: &str) -> Option<String> {
    let last = given.rsplit('.').next().unwrap_or(given);
    let known = Config::GROUPS.iter().flat_map(|group| group.keys.iter().map(move |key| (group.name, key.name)));
    known
        .map(|(group, key)| {
            let path = format!("{group}.{key}");
            let whole = strsim::normalized_damerau_levenshtein(given, &path);
            let tail = strsim::normalized_damerau_levenshtein(last, key);
            (whole.max(tail) + whole / 100.0, path)
        })
        .filter(|(likeness, _)| *likeness >= SUGGESTION_THRESHOLD)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, path)| path)
}

fn read_bounded(path: &Path) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText { path: path.to_owned() })
}
