//! Opening, creating and migrating a store.

use lapis_protocol_spec::{Bytes32, Genesis, encode};
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableError, WriteTransaction};

use crate::{
    Fate, OpenError, StoreError, TableName,
    error::Damage,
    medium::Watched,
    migrate::MIGRATIONS,
    ranges::DamagedRange,
    rows::{seal, seal_key, unseal},
    state::State,
    tables::{META, ReadTables, WriteTables},
};

/// Version of the layout that this program writes: the first one, and a step for each later one.
const SCHEMA: u64 = 1 + MIGRATIONS.len() as u64;
const SCHEMA_ROW: &str = "schema";
const GENESIS_ROW: &str = "genesis";

/// What opening found and made of it.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) state: State,
    /// Rows that were damaged, and what became of them.
    pub(crate) mended: Vec<(Damage, Fate)>,
}

/// Opens the database on `backend`, makes it a store of the chain of `genesis` if it is new, and reads its state.
pub(crate) fn open(backend: Watched, genesis: &Genesis, cache_bytes: usize) -> Result<Opened, OpenError> {
    let database = Database::builder().set_cache_size(cache_bytes).create_with_backend(backend)?;
    match identity(&database)? {
        None => create(&database, genesis)?,
        Some((found, _)) if found > SCHEMA => {
            return Err(OpenError::NewerSchema { found, supported: SCHEMA });
        }
        Some((found, chain)) => {
            let expected = genesis.id();
            if chain != expected {
                return Err(OpenError::OtherChain { found: chain, expected });
            }
            migrate(&database, found)?;
        }
    }
    let transaction = database.begin_read().map_err(StoreError::from)?;
    let tables = ReadTables::open(&transaction).map_err(StoreError::from)?;
    let (mut state, damaged) = State::load(&tables)?;
    if !damaged.is_empty() {
        state.mend_ranges(&damaged, &tables)?;
        write_mended(&database, &state)?;
    }
    let fate = |range: &DamagedRange| if range.is_of_archived() { Fate::Dropped } else { Fate::MadeAgain };
    let mended = damaged.iter().map(|range| (range.damage(), fate(range))).collect();
    Ok(Opened { database, state, mended })
}

fn write_mended(database: &Database, state: &State) -> Result<(), StoreError> {
    let transaction = begin(database)?;
    state.persist(&mut WriteTables::open(&transaction)?, None)?;
    Ok(transaction.commit()?)
}

/// Schema and genesis id of the store; `None` if the database is empty.
fn identity(database: &Database) -> Result<Option<(u64, Bytes32)>, OpenError> {
    let transaction = database.begin_read().map_err(StoreError::from)?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_)) => {
            let is_empty = transaction.list_tables().map_err(StoreError::from)?.next().is_none();
            return if is_empty { Ok(None) } else { Err(OpenError::NotAStore) };
        }
        Err(error) => return Err(StoreError::from(error).into()),
    };
    Ok(Some(read_identity(&meta)?))
}

fn read_identity(meta: &ReadOnlyTable<&'static str, &'static [u8]>) -> Result<(u64, Bytes32), StoreError> {
    let damage = Damage { table: TableName::Meta, height: 0, index: 0 };
    let schema = meta.get(SCHEMA_ROW)?.ok_or(damage)?;
    let schema = unseal(schema.value(), 0).and_then(|row| row.try_into().ok()).ok_or(damage)?;
    let genesis = meta.get(GENESIS_ROW)?.ok_or(damage)?;
    let genesis = unseal(genesis.value(), 0).and_then(Bytes32::from_slice).ok_or(damage)?;
    Ok((u64::from_le_bytes(schema), genesis))
}

/// One durable transaction makes the store: a crash leaves an empty database or a whole store.
fn create(database: &Database, genesis: &Genesis) -> Result<(), StoreError> {
    let transaction = begin(database)?;
    {
        let mut tables = WriteTables::open(&transaction)?;
        tables.meta.insert(GENESIS_ROW, seal(genesis.id().0.to_vec(), 0).as_slice())?;
        let root = genesis.validators.root();
        let set = seal(encode(&genesis.validators), seal_key(&root.0));
        tables.validator_sets.insert(&root.0, set.as_slice())?;
        State::genesis(genesis).persist(&mut tables, None)?;
    }
    write_schema(&transaction)?;
    Ok(transaction.commit()?)
}

fn migrate(database: &Database, found: u64) -> Result<(), StoreError> {
    if found == SCHEMA {
        return Ok(());
    }
    let transaction = begin(database)?;
    let damage = Damage { table: TableName::Meta, height: 0, index: 0 };
    let done = found.checked_sub(1).and_then(|done| usize::try_from(done).ok()).ok_or(damage)?;
    for step in MIGRATIONS.iter().skip(done) {
        step(&transaction)?;
    }
    write_schema(&transaction)?;
    Ok(transaction.commit()?)
}

fn write_schema(transaction: &WriteTransaction) -> Result<(), StoreError> {
    let mut meta = transaction.open_table(META)?;
    meta.insert(SCHEMA_ROW, seal(SCHEMA.to_le_bytes().to_vec(), 0).as_slice())?;
    Ok(())
}

/// A durable transaction after which opening the file does not scan it.
fn begin(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}
