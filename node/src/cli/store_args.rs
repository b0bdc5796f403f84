//! The flags of the commands that work on a store while no node does.

use std::{fmt, ops::RangeInclusive, path::PathBuf, str::FromStr};

use clap::{Args, Subcommand, ValueEnum};
use lapis_protocol_spec::{Height, archive::Compression};

use super::DirArgs;

/// `lapis export`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExportArgs {
    /// Directory that `lapis init` made; no node may run on it
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
    /// Heights to write, both ends included
    #[arg(long, value_name = "A..B", env = "LAPIS_EXPORT_RANGE")]
    pub range: HeightSpan,
    /// File to make; it must not exist
    #[arg(long, value_name = "FILE", env = "LAPIS_EXPORT_OUT")]
    pub out: PathBuf,
    /// Compression of the archive
    #[arg(long, value_name = "KIND", default_value = "zstd", env = "LAPIS_EXPORT_COMPRESSION")]
    pub compression: Packing,
}

/// `lapis import`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ImportArgs {
    /// Directory that `lapis init` made; no node may run on it
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
    /// The archive
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `lapis verify`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct VerifyArgs {
    /// Directory that `lapis init` made; no node may run on it
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
    /// Verify digests and KZG proofs too, on all cores
    #[arg(long, env = "LAPIS_VERIFY_DEEP")]
    pub deep: bool,
    /// Make again what can be made again, and drop damaged data so that it is fetched again
    #[arg(long, env = "LAPIS_VERIFY_REPAIR")]
    pub repair: bool,
}

/// `lapis db`.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DbCommand {
    /// Print what is in a store and what it takes
    Stats(StatsArgs),
    /// Move what a store holds together and give free space back to the disk; no node may run on it
    Compact(DirArgs),
}

/// `lapis db stats`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct StatsArgs {
    /// Directory that `lapis init` made; no node may run on it
    #[arg(long, value_name = "DIR", env = "LAPIS_DIR")]
    pub dir: PathBuf,
    /// Tell the bytes of each table too, which takes reading all of the store
    #[arg(long, env = "LAPIS_DB_PAGES")]
    pub pages: bool,
    /// Print JSON, on one line
    #[arg(long, env = "LAPIS_DB_JSON")]
    pub json: bool,
}

/// The compressions that archives have, as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Packing {
    /// A zstd frame for each height
    Zstd,
    /// No compression
    None,
}

impl From<Packing> for Compression {
    fn from(packing: Packing) -> Self {
        match packing {
            Packing::Zstd => Self::Zstd,
            Packing::None => Self::None,
        }
    }
}

/// Heights from one up to and including another, written `A..B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeightSpan {
    /// The lowest, at least 1.
    pub first: Height,
    /// The highest.
    pub last: Height,
}

impl HeightSpan {
    /// The heights.
    #[must_use]
    pub fn heights(self) -> RangeInclusive<Height> {
        self.first..=self.last
    }
}

impl fmt::Display for HeightSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.last)
    }
}

/// What is wrong with a range of heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be two heights from 1 on, the lower one first, such as 1..500")]
pub struct NotASpan;

impl FromStr for HeightSpan {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let (first, last) = text.split_once("..").ok_or(NotASpan)?;
        let span = Self { first: height(first)?, last: height(last)? };
        if (1..=span.last).contains(&span.first) && span.last < Height::MAX { Ok(span) } else { Err(NotASpan) }
    }
}

/// Digits alone: neither signs nor blanks.
fn height(text: &str) -> Result<Height, NotASpan> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| NotASpan) } else { Err(NotASpan) }
}
