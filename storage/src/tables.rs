//! All tables on one screen. This module owns names, key and value shapes and the layout constants; it never decides.
//!
//! ```text
//! table            key                                 value                                     rows
//! meta             name                                sealed row: schema, genesis id, chain     5
//! validator_sets   root                                sealed SSZ ValidatorSet                   1 per set
//! value_ids        value id                            number                                    1 per value
//! heights          height                              number                                    1 per decided value
//! values           number                              sealed SSZ Value                          1 per value
//! states           number                              sealed ValueState                         1 per value
//! certificates     height                              sealed SSZ CommitCertificate              1 per decided value
//! rounds           height, round, number               ()                                        undecided values only
//! payloads         number                              sealed PayloadRow (size, checksum)        1 per payload held
//! payload_pieces   number, piece                       bytes of the SSZ PayloadEnvelope          see `pieces`
//! places           versioned hash, height, number, i   ()                                        1 per commitment
//! blobs            versioned hash                      sealed BlobRow (proof, checksum, tail)    1 per blob held
//! blob_pieces      blob number, piece                  65,500 bytes                              2 per blob held
//! ranges           kind, start                         sealed end (not included)                 few
//! ```
//!
//! *Numbers* name values and blobs inside one store. They only grow, so what is written together lies together, and a
//! row that refers to a value takes 8 bytes, not 32.
//!
//! A value is decided when its height is at most the tip's; all others are undecided. So promotion writes a certificate
//! and one row of `heights`, and touches nothing per blob. A blob belongs to every value that has a row for it in
//! `places`, and is held once, in `blobs`. Nothing counts references: a blob may go when no place at or above the first
//! unswept height is left, which is one seek.
//!
//! *Sealed* rows end with an xxh3-64 over row and key. Blobs and payloads carry such a checksum in their sealed row.

use crate::{StoreError, TableDetail, TableSize};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};

/// Bytes of each large piece. A page of 65,536 bytes takes one, with its key, and nothing is lost to redb's rounding of
/// large values to a power of two of pages.
pub(crate) const PIECE_BYTES: usize = 65_500;

/// Key of `places`: versioned hash, height, number of the value, index of the blob.
pub(crate) type PlaceKey = (&'static [u8; 32], u64, u64, u16);

pub(crate) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(crate) const VALIDATOR_SETS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("validator_sets");
pub(crate) const VALUE_IDS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("value_ids");
pub(crate) const HEIGHTS: TableDefinition<'_, u64, u64> = TableDefinition::new("heights");
pub(crate) const VALUES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("values");
pub(crate) const STATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("states");
pub(crate) const CERTIFICATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("certificates");
pub(crate) const ROUNDS: TableDefinition<'_, (u64, u64, u64), ()> = TableDefinition::new("rounds");
pub(crate) const PAYLOADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("payloads");
pub(crate) const PAYLOAD_PIECES: TableDefinition<'_, (u64, u16), &[u8]> = TableDefinition::new("payload_pieces");
pub(crate) const PLACES: TableDefinition<'_, PlaceKey, ()> = TableDefinition::new("places");
pub(crate) const BLOBS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("blobs");
pub(crate) const BLOB_PIECES: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("blob_pieces");
pub(crate) const RANGES: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("ranges");

/// Which table a [`crate::Damage`] is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableName {
    /// Schema, chain, watermarks and counters.
    Meta,
    /// Validator sets by root.
    ValidatorSets,
    /// Values by id.
    ValueIds,
    /// Decided values by height.
    Heights,
    /// Values.
    Values,
    /// What is held of each value.
    States,
    /// Certificates by height.
    Certificates,
    /// Payloads and their pieces.
    Payloads,
    /// Places of versioned hashes.
    Places,
    /// Blobs and their pieces.
    Blobs,
    /// Sets of heights.
    Ranges,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Meta => "meta",
            Self::ValidatorSets => "validator_sets",
            Self::ValueIds => "value_ids",
            Self::Heights => "heights",
            Self::Values => "values",
            Self::States => "states",
            Self::Certificates => "certificates",
            Self::Payloads => "payloads",
            Self::Places => "places",
            Self::Blobs => "blobs",
            Self::Ranges => "ranges",
        })
    }
}

/// What a transaction, reading or writing, offers to the code that only reads.
///
/// One implementation per kind of transaction keeps every lookup written once.
pub(crate) trait Tables {
    fn validator_sets(&self) -> &impl ReadableTable<&'static [u8; 32], &'static [u8]>;
    fn value_ids(&self) -> &impl ReadableTable<&'static [u8; 32], u64>;
    fn heights(&self) -> &impl ReadableTable<u64, u64>;
    fn values(&self) -> &impl ReadableTable<u64, &'static [u8]>;
    fn states(&self) -> &impl ReadableTable<u64, &'static [u8]>;
    fn certificates(&self) -> &impl ReadableTable<u64, &'static [u8]>;
    fn rounds(&self) -> &impl ReadableTable<(u64, u64, u64), ()>;
    fn payloads(&self) -> &impl ReadableTable<u64, &'static [u8]>;
    fn payload_pieces(&self) -> &impl ReadableTable<(u64, u16), &'static [u8]>;
    fn places(&self) -> &impl ReadableTable<PlaceKey, ()>;
    fn blobs(&self) -> &impl ReadableTable<&'static [u8; 32], &'static [u8]>;
    fn blob_pieces(&self) -> &impl ReadableTable<(u64, u8), &'static [u8]>;
    fn ranges(&self) -> &impl ReadableTable<(u8, u64), &'static [u8]>;
    fn meta(&self) -> &impl ReadableTable<&'static str, &'static [u8]>;
}

macro_rules! table_sets {
    ($($field:ident: $definition:ident, $key:ty, $value:ty;)*) => {
        /// The tables of a writing transaction.
        pub(crate) struct WriteTables<'t> {
            $(pub(crate) $field: Table<'t, $key, $value>,)*
        }

        impl<'t> WriteTables<'t> {
            /// Opens every table, creating those that do not exist.
            pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, TableError> {
                Ok(Self { $($field: transaction.open_table($definition)?,)* })
            }
        }

        impl Tables for WriteTables<'_> {
            $(fn $field(&self) -> &impl ReadableTable<$key, $value> {
                &self.$field
            })*
        }

        /// The tables of a snapshot.
        pub(crate) struct ReadTables {
            $(pub(crate) $field: ReadOnlyTable<$key, $value>,)*
        }

        impl ReadTables {
            /// Opens every table.
            pub(crate) fn open(transaction: &ReadTransaction) -> Result<Self, TableError> {
                Ok(Self { $($field: transaction.open_table($definition)?,)* })
            }

            /// What each table takes.
            pub(crate) fn sizes(&self, detail: TableDetail) -> Result<Vec<TableSize>, StoreError> {
                Ok(vec![$(TableSize::of(stringify!($field), &self.$field, detail)?,)*])
            }
        }

        impl Tables for ReadTables {
            $(fn $field(&self) -> &impl ReadableTable<$key, $value> {
                &self.$field
            })*
        }
    };
}

table_sets! {
    validator_sets: VALIDATOR_SETS, &'static [u8; 32], &'static [u8];
    value_ids: VALUE_IDS, &'static [u8; 32], u64;
    heights: HEIGHTS, u64, u64;
    values: VALUES, u64, &'static [u8];
    states: STATES, u64, &'static [u8];
    certificates: CERTIFICATES, u64, &'static [u8];
    rounds: ROUNDS, (u64, u64, u64), ();
    payloads: PAYLOADS, u64, &'static [u8];
    payload_pieces: PAYLOAD_PIECES, (u64, u16), &'static [u8];
    places: PLACES, PlaceKey, ();
    blobs: BLOBS, &'static [u8; 32], &'static [u8];
    blob_pieces: BLOB_PIECES, (u64, u8), &'static [u8];
    ranges: RANGES, (u8, u64), &'static [u8];
    meta: META, &'static str, &'static [u8];
}
