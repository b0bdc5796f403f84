//! What some keys have a choice of.

use std::num::NonZeroU64;

use clap::ValueEnum;

use super::setting::{Raw, Setting, choice};

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pacing {
    /// Each peer has as much in flight as it delivers.
    Adaptive,
    /// One request at a time, 200 ms between their starts.
    Fixed,
}

/// Heights below the network's retention floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BelowFloor {
    /// Are imported with all their blobs or not at all.
    RequireBlobs,
    /// Are imported without blobs.
    WithoutBlobs,
}

/// When blobs beyond their retention are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrunePolicy {
    /// Once they are imported.
    AfterImport,
    /// Once they are imported and archived.
    AfterArchive,
}

/// How archives are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArchiveCompression {
    /// Not at all.
    None,
    /// With zstd.
    Zstd,
}

/// Where payloads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// Checks the chain of payloads and keeps its head.
    Embedded,
    /// To an execution client, over its Engine API.
    EngineApi,
    /// Nowhere: a node that keeps and serves data.
    None,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
    /// key=value pairs.
    Logfmt,
}

/// For how many heights below the head blobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobRetention {
    /// As many as the genesis says.
    Genesis,
    /// So many.
    Heights(NonZeroU64),
    /// For ever.
    All,
}

choice!(Pacing, "\"adaptive\" or \"fixed\"");
choice!(BelowFloor, "\"require-blobs\" or \"without-blobs\"");
choice!(PrunePolicy, "\"after-import\" or \"after-archive\"");
choice!(ArchiveCompression, "\"zstd\" or \"none\"");
choice!(EngineKind, "\"embedded\", \"engine-api\" or \"none\"");
choice!(LogFormat, "\"pretty\", \"json\" or \"logfmt\"");

impl Setting for BlobRetention {
    const SHAPE: &'static str = "\"genesis\", \"all\" or a whole number of heights of at least 1";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        match raw {
            Raw::Text(word) | Raw::Word(word) if word.trim() == "genesis" => Ok(Self::Genesis),
            Raw::Text(word) | Raw::Word(word) if word.trim() == "all" => Ok(Self::All),
            _ => NonZeroU64::read(raw).map(Self::Heights),
        }
    }

    fn to_toml(&self) -> Option<String> {
        match self {
            Self::Genesis => Some("\"genesis\"".to_owned()),
            Self::All => Some("\"all\"".to_owned()),
            Self::Heights(heights) => heights.to_toml(),
        }
    }
}
