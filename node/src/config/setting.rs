//! Values: from the notations of file, environment and command line to types, and back to TOML.

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use lapis_protocol_spec::Bytes32;
use libp2p::{Multiaddr, PeerId};

use crate::{checkpoint::Checkpoint, object_archive::Location};

/// Longest time that can be set: sums of times and instants stay far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// A value as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// A number of the file.
    Integer(i128),
    /// `true` or `false` in the file.
    Bool(bool),
    /// A string of the file.
    Text(String),
    /// A text without a type: from the environment or the command line.
    Word(String),
    /// Several values.
    List(Vec<Raw>),
    /// What no key takes (fractions, dates, tables), as it was written.
    Foreign(String),
}

/// A type that a key can have.
pub trait Setting: Sized {
    /// What a value looks like; continues "must be".
    const SHAPE: &'static str;

    /// Reads a value.
    ///
    /// # Errors
    /// The value, or the part of the list, that does not fit.
    fn read(raw: &Raw) -> Result<Self, Raw>;

    /// The value in TOML's notation; `None` if there is none.
    fn to_toml(&self) -> Option<String>;
}

impl Raw {
    /// The text of a string or a word.
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Word(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The whole number that a number or a word stands for.
    fn as_integer(&self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Word(word) => word.trim().replace('_', "").parse().ok(),
            _ => None,
        }
    }

    /// The items of a list, or of a word with commas.
    fn as_list(&self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Word(word) => {
                let items = word.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(items.map(|item| Self::Word(item.to_owned())).collect())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Text(text) | Self::Word(text) => f.write_str(&quoted(text)),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Foreign(text) => f.write_str(text),
        }
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Reads by a function of the text.
fn from_text<T>(raw: &Raw, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Raw> {
    raw.as_text().and_then(parse).ok_or_else(|| raw.clone())
}

macro_rules! whole_numbers {
    ($($Type:ty: $shape:literal,)+) => {$(
        impl Setting for $Type {
            const SHAPE: &'static str = $shape;

            fn read(raw: &Raw) -> Result<Self, Raw> {
                raw.as_integer().and_then(|number| Self::try_from_i128(number)).ok_or_else(|| raw.clone())
            }

            fn to_toml(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}

/// Checked narrowing, the same for plain and non-zero numbers.
trait FromI128: Sized {
    fn try_from_i128(number: i128) -> Option<Self>;
}

macro_rules! narrowing {
    ($($Plain:ty => $NonZero:ty,)+) => {$(
        impl FromI128 for $Plain {
            fn try_from_i128(number: i128) -> Option<Self> {
                Self::try_from(number).ok()
            }
        }

        impl FromI128 for $NonZero {
            fn try_from_i128(number: i128) -> Option<Self> {
                <$Plain>::try_from(number).ok().and_then(Self::new)
            }
        }
    )+};
}

narrowing! { u32 => NonZeroU32, u64 => NonZeroU64, usize => NonZeroUsize, }

whole_numbers! {
    u32: "a whole number from 0 to 4294967295",
    u64: "a whole number of at least 0",
    usize: "a whole number of at least 0",
    NonZeroU32: "a whole number from 1 to 4294967295",
    NonZeroU64: "a whole number of at least 1",
    NonZeroUsize: "a whole number of at least 1",
}

impl Setting for bool {
    const SHAPE: &'static str = "true or false";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        match raw {
            Raw::Bool(value) => Ok(*value),
            Raw::Word(word) => word.trim().parse().map_err(|_| raw.clone()),
            _ => Err(raw.clone()),
        }
    }

    fn to_toml(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for Duration {
    const SHAPE: &'static str = "a time with its unit, from 1ms to 365days, such as \"30s\" or \"1m 30s\"";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| {
            humantime::parse_duration(text).ok().filter(|time| (Self::from_millis(1)..=MAX_DURATION).contains(time))
        })
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(&humantime::format_duration(*self).to_string()))
    }
}

impl Setting for ByteSize {
    const SHAPE: &'static str = "a size such as \"64 MiB\", or a whole number of bytes";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        if let Some(number) = raw.as_integer() {
            return u64::try_from(number).map(Self).map_err(|_| raw.clone());
        }
        from_text(raw, |text| text.parse().ok())
    }

    fn to_toml(&self) -> Option<String> {
        let bytes = self.as_u64();
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let exact = units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
        Some(match exact {
            Some((unit, name)) => quoted(&format!("{} {name}", bytes / unit)),
            None => bytes.to_string(),
        })
    }
}

macro_rules! parsed {
    ($($Type:ty: $shape:literal,)+) => {$(
        impl Setting for $Type {
            const SHAPE: &'static str = $shape;

            fn read(raw: &Raw) -> Result<Self, Raw> {
                from_text(raw, |text| text.parse().ok())
            }

            fn to_toml(&self) -> Option<String> {
                Some(quoted(&self.to_string()))
            }
        }
    )+};
}

parsed! {
    SocketAddr: "an address with a port such as \"127.0.0.1:9651\"",
}

impl Setting for String {
    const SHAPE: &'static str = "a text";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| Some(text.to_owned()))
    }

    fn to_toml(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Setting for Option<String> {
    const SHAPE: &'static str = "a text";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| (!text.is_empty()).then(|| Some(text.to_owned())))
    }

    fn to_toml(&self) -> Option<String> {
        self.as_deref().map(quoted)
    }
}

impl Setting for Option<Checkpoint> {
    const SHAPE: &'static str = "a height, a colon and a value id of 32 bytes in hex";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| text.parse().ok().map(Some))
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().map(|checkpoint| quoted(&checkpoint.to_string()))
    }
}

impl Setting for Option<Location> {
    const SHAPE: &'static str = "a place such as \"file:///var/lib/archive\" or \"s3://bucket/prefix\"";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| text.parse().ok().map(Some))
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().map(|location| quoted(&location.to_string()))
    }
}

impl Setting for Option<PathBuf> {
    const SHAPE: &'static str = "the path of a file";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| (!text.is_empty()).then(|| Some(PathBuf::from(text))))
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().map(|path| quoted(&path.to_string_lossy()))
    }
}

impl Setting for Option<Bytes32> {
    const SHAPE: &'static str = "32 bytes of hex";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        from_text(raw, |text| Bytes32::from_hex(text).map(Some))
    }

    fn to_toml(&self) -> Option<String> {
        self.as_ref().map(|hash| quoted(&hash.to_string()))
    }
}

macro_rules! lists {
    ($($Item:ty: $shape:literal,)+) => {$(
        impl Setting for Vec<$Item> {
            const SHAPE: &'static str = $shape;

            fn read(raw: &Raw) -> Result<Self, Raw> {
                let items = raw.as_list().ok_or_else(|| raw.clone())?;
                items.iter().map(|item| from_text(item, |text| text.parse().ok())).collect()
            }

            fn to_toml(&self) -> Option<String> {
                let items: Vec<_> = self.iter().map(|item| quoted(&item.to_string())).collect();
                Some(format!("[{}]", items.join(", ")))
            }
        }
    )+};
}

lists! {
    Location: "a list of places such as [\"file:///var/lib/archive\", \"s3://bucket/prefix\"]",
    Multiaddr: "a list of multiaddrs such as [\"/ip4/127.0.0.1/tcp/9650\"]",
    PeerId: "a list of peer ids such as [\"12D3KooWHwbK2hPYc4TJZ2gWjLXdCVy93w1c3eyjPsLcsqa9tKZ2\"]",
}

/// Makes a setting of an enum with clap's names for its variants: the same words in files and flags.
macro_rules! choice {
    ($Type:ty, $shape:literal) => {
        impl $crate::config::Setting for $Type {
            const SHAPE: &'static str = $shape;

            fn read(raw: &$crate::config::Raw) -> Result<Self, $crate::config::Raw> {
                let (Raw::Text(word) | Raw::Word(word)) = raw else { return Err(raw.clone()) };
                <Self as clap::ValueEnum>::from_str(word.trim(), false).map_err(|_| raw.clone())
            }

            fn to_toml(&self) -> Option<String> {
                clap::ValueEnum::to_possible_value(self).map(|value| format!("\"{}\"", value.get_name()))
            }
        }
    };
}

pub(super) use choice;
