//! What an operator can set.
//!
//! Values come in layers, each over the one before: the defaults, the file `config.toml`, the environment, the command
//! line. The file has a table per group. The environment has a variable per key: `LAPIS_`, the group, two underscores,
//! the key, all in capitals (`LAPIS_SYNC__MAX_BUFFERED_BYTES="128 MiB"`); lists are separated by commas. Variables
//! without the two underscores are not looked at: container platforms set `LAPIS_…` variables of their own for a
//! service of that name.
//!
//! Every key is declared once, in `groups`: its type, its default and its description. The file that `lapis init`
//! writes, the parser, the errors and `lapis config show` all come from that one declaration.

mod choices;
mod declare;
mod groups;
mod layers;
mod rules;
mod setting;
mod source;
pub mod template;

#[cfg(test)]
mod tests;

pub use bytesize::ByteSize;

pub use self::{
    choices::{ArchiveCompression, BelowFloor, BlobRetention, EngineKind, LogFormat, Pacing, PrunePolicy},
    declare::{GroupInfo, Key},
    groups::{
        ArchiveConfig, Config, EngineConfig, HttpConfig, LimitsConfig, LogConfig, NetworkConfig, RetentionConfig,
        StorageConfig, SyncConfig, TrustedSetupConfig, VerifyConfig,
    },
    layers::{ConfigError, Layers, Loaded, Origin},
    rules::Broken,
    setting::{Raw, Setting},
};
