//! Rows changed and removed behind the store's back: found, said, mended, or fetched again.

use std::{num::NonZeroUsize, ops::Range, sync::Arc};

use lapis_protocol_spec::{DecidedValue, Verified};
use lapis_storage::{
    Batch, Damage, Fate, PruneOptions, Repaired, Store, StoreConfig, StoreError, TableName, VerifyOptions,
};
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::{
    faulty::Disk,
    fixture::{Bench, KZG, Proposal, at},
    work::Work,
};

const STATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("states");
const VALUES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("values");
const HEIGHTS: TableDefinition<'_, u64, u64> = TableDefinition::new("heights");
const VALUE_IDS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("value_ids");
const CERTIFICATES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("certificates");
const PAYLOADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("payloads");
const PAYLOAD_PIECES: TableDefinition<'_, (u64, u16), &[u8]> = TableDefinition::new("payload_pieces");
const BLOBS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("blobs");
const BLOB_PIECES: TableDefinition<'_, (u64, u8), &[u8]> = TableDefinition::new("blob_pieces");
const PLACES: TableDefinition<'_, (&[u8; 32], u64, u64, u16), ()> = TableDefinition::new("places");
const RANGES: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("ranges");

/// Number of the value of height 2, and of its first blob.
const VALUE: u64 = 2;
const BLOB: u64 = 3;

/// Three whole heights of two blobs each.
struct Whole {
    bench: Bench,
    proposals: Vec<Proposal>,
    decided: Vec<Verified<DecidedValue>>,
}

impl Whole {
    fn new() -> Self {
        let mut bench = Bench::new();
        let (mut proposals, mut decided) = (Vec::new(), Vec::new());
        for seed in 1..=3 {
            let proposal = bench.chain.propose(&[seed, 10 + seed], 70_000);
            let value = bench.chain.decide(&proposal);
            bench.store.mark_decided(std::slice::from_ref(&value)).unwrap();
            bench.store.insert(proposal.batch()).unwrap();
            decided.push(value);
            proposals.push(proposal);
        }
        Self { bench, proposals, decided }
    }

    /// With something changed behind the store's back.
    fn changed(self, change: impl FnOnce(&WriteTransaction, &[Proposal])) -> Self {
        let Self { bench, proposals, decided } = self;
        let bench = bench.reopen_after(|path| {
            let database = Database::open(path).unwrap();
            let transaction = database.begin_write().unwrap();
            change(&transaction, &proposals);
            transaction.commit().unwrap();
        });
        Self { bench, proposals, decided }
    }

    /// Repairs, sees that nothing but what is missing is wrong then, brings that, and sees that all is as it was.
    fn assert_mended(&self) -> Repaired {
        let repaired = self.bench.store.repair(options(), |_| (), |_, _| ()).unwrap();
        if repaired.left == 0 {
            assert_eq!(verify(&self.bench), [], "{repaired:?}");
        }
        for decided in &self.decided {
            self.bench.store.mend_decided(decided).unwrap();
        }
        for proposal in &self.proposals {
            self.bench.store.insert(proposal.batch()).unwrap();
        }
        let again = self.bench.store.repair(options(), |_| (), |_, _| ()).unwrap();
        assert_eq!(again.left, 0);
        assert_eq!(verify(&self.bench), []);
        assert!(self.bench.store.gaps().is_empty());
        assert_eq!(self.bench.store.watermarks().available, 3);
        let tallies = self.bench.store.stats().unwrap().tallies;
        assert_eq!((tallies.blobs.held().count, tallies.payloads.held().count), (6, 3));
        let reader = self.bench.store.reader().unwrap();
        for proposal in &self.proposals {
            assert_eq!(reader.payload(proposal.height()).unwrap().as_ref(), Some(&proposal.envelope));
            for (index, sidecar) in (0..).zip(&proposal.sidecars) {
                assert_eq!(reader.sidecar(proposal.height(), index).unwrap().as_ref(), Some(sidecar));
            }
        }
        repaired
    }
}

/// A row of `ranges` as the store writes it.
pub(crate) fn insert_range(transaction: &WriteTransaction, kind: u8, heights: Range<u64>) {
    let end = heights.end.to_le_bytes();
    let key = xxh3_64_with_seed(&heights.start.to_le_bytes(), kind.into());
    let row = [end, xxh3_64_with_seed(&end, key).to_le_bytes()].concat();
    transaction.open_table(RANGES).unwrap().insert((kind, heights.start), row.as_slice()).unwrap();
}

fn options() -> VerifyOptions<'static> {
    VerifyOptions { deep: Some(&KZG), threads: NonZeroUsize::new(2).unwrap() }
}

fn verify(bench: &Bench) -> Vec<Damage> {
    let mut damages = Vec::new();
    let mut heights = 0;
    let last = bench.store.verify(options(), |at| heights = at.heights, |damage| damages.push(damage)).unwrap();
    assert_eq!((last.heights, last.of, last.damages), (heights, heights, damages.len() as u64));
    damages.sort_unstable_by_key(|damage| (damage.table, damage.height, damage.index));
    damages
}

const fn damage(table: TableName, height: u64, index: u64) -> Damage {
    Damage { table, height, index }
}

const REPAIRED: Repaired = Repaired { made_again: 0, dropped: 0, left: 0, orphans: 0 };

#[test]
fn a_store_that_was_left_alone_has_no_damage() {
    let Whole { mut bench, .. } = Whole::new();
    bench.import_all();
    bench.store.mark_archived(1..3).unwrap();
    bench.store.prune_below(2, PruneOptions::default()).unwrap();
    let (missing, decided) = bench.chain.next(&[7, 7, 1]);
    bench.store.mark_decided(&[decided]).unwrap();
    bench.store.insert(Batch { blobs: missing.blobs([0]), ..Batch::default() }).unwrap();
    let proposed = bench.chain.propose(&[7, 8], 200);
    bench.store.insert_undecided(0, &proposed.value, at(0)).unwrap();
    bench.store.insert_undecided(1, &proposed.value, at(0)).unwrap();
    bench.store.insert(Batch { blobs: proposed.blobs([1]), payloads: vec![proposed.payload()] }).unwrap();
    assert_eq!(verify(&bench), []);
    let before = (bench.store.stats().unwrap().tallies, bench.store.watermarks(), bench.store.gaps());
    assert_eq!(bench.store.repair(options(), |_| (), |_, _| ()).unwrap(), REPAIRED);
    assert_eq!((bench.store.stats().unwrap().tallies, bench.store.watermarks(), bench.store.gaps()), before);
}

#[test]
fn rows_that_follow_from_the_value_are_made_again() {
    let remove_state =
        |t: &WriteTransaction, _: &[Proposal]| drop(t.open_table(STATES).unwrap().remove(VALUE).unwrap());
    let remove_id = |t: &WriteTransaction, p: &[Proposal]| {
        drop(t.open_table(VALUE_IDS).unwrap().remove(&p[1].value.id().0).unwrap());
    };
    let swap_id = |t: &WriteTransaction, p: &[Proposal]| {
        drop(t.open_table(VALUE_IDS).unwrap().insert(&p[1].value.id().0, 3).unwrap());
    };
    let remove_place = |t: &WriteTransaction, p: &[Proposal]| {
        drop(t.open_table(PLACES).unwrap().remove((&p[1].hash(1).0, 2, VALUE, 1)).unwrap());
    };
    let add_gap = |t: &WriteTransaction, _: &[Proposal]| insert_range(t, 2, 2..3);
    let lose_height = |t: &WriteTransaction, _: &[Proposal]| drop(t.open_table(HEIGHTS).unwrap().remove(2).unwrap());
    let move_height = |t: &WriteTransaction, _: &[Proposal]| drop(t.open_table(HEIGHTS).unwrap().insert(2, 3).unwrap());
    type Change = fn(&WriteTransaction, &[Proposal]);
    let cases: [(Change, Damage); 7] = [
        (lose_height, damage(TableName::Heights, 2, 0)),
        (move_height, damage(TableName::Heights, 2, 0)),
        (remove_state, damage(TableName::States, 2, 0)),
        (remove_id, damage(TableName::ValueIds, 2, 0)),
        (swap_id, damage(TableName::ValueIds, 2, 0)),
        (remove_place, damage(TableName::Places, 2, 1)),
        (add_gap, damage(TableName::Ranges, 2, 0)),
    ];
    for (change, expected) in cases {
        let whole = Whole::new().changed(change);
        assert!(verify(&whole.bench).contains(&expected), "{expected}");
        let served = whole.bench.store.reader().unwrap().payload(2);
        assert!(!matches!(served, Ok(Some(payload)) if payload != whole.proposals[1].envelope), "{expected}");
        assert_eq!(whole.assert_mended(), Repaired { made_again: 1, ..REPAIRED }, "{expected}");
    }
}

#[test]
fn lost_and_wrong_data_is_reported_on_reading_and_fetched_again() {
    let lose_blob = |t: &WriteTransaction, p: &[Proposal]| {
        drop(t.open_table(BLOBS).unwrap().remove(&p[1].hash(0).0).unwrap());
    };
    let lose_piece = |t: &WriteTransaction, _: &[Proposal]| {
        drop(t.open_table(BLOB_PIECES).unwrap().remove((BLOB, 1)).unwrap());
    };
    let lose_payload =
        |t: &WriteTransaction, _: &[Proposal]| drop(t.open_table(PAYLOADS).unwrap().remove(VALUE).unwrap());
    let lose_payload_piece = |t: &WriteTransaction, _: &[Proposal]| {
        drop(t.open_table(PAYLOAD_PIECES).unwrap().remove((VALUE, 0)).unwrap());
    };
    type Change = fn(&WriteTransaction, &[Proposal]);
    let cases: [(Change, TableName, u64); 4] = [
        (lose_blob, TableName::Blobs, 1),
        (lose_piece, TableName::Blobs, 1),
        (lose_payload, TableName::Payloads, 1),
        (lose_payload_piece, TableName::Payloads, 0),
    ];
    for (change, table, orphans) in cases {
        let whole = Whole::new().changed(change);
        let store = &whole.bench.store;
        let reader = store.reader().unwrap();
        let found = [reader.sidecar(2, 0).err(), reader.payload(2).err()].into_iter().flatten().next();
        let Some(StoreError::Damaged(found)) = found else { panic!("{table} was served: {found:?}") };
        assert_eq!(found, damage(table, 2, 0));
        assert!(verify(&whole.bench).contains(&found));
        let repaired = whole.assert_mended();
        assert_eq!((repaired.dropped, repaired.left), (1, 0), "{table}");
        // The pieces of a lost row are found, and pieces of a dropped one are gone with it.
        assert!(repaired.orphans <= orphans, "{table}: {repaired:?}");
        let whole = Whole::new().changed(change);
        assert!(whole.bench.store.discard_damaged(&found).unwrap());
        assert!(!whole.bench.store.discard_damaged(&found).unwrap());
        assert_eq!(whole.bench.store.watermarks().available, 1);
        assert_eq!(whole.bench.store.missing(1..4, 9).unwrap()[0].height, 2);
        whole.assert_mended();
    }
}

#[test]
fn values_and_certificates_come_back_verified() {
    let flip_value = |t: &WriteTransaction, _: &[Proposal]| {
        drop(t.open_table(VALUES).unwrap().insert(VALUE, [1; 50].as_slice()).unwrap());
    };
    let lose_certificate = |t: &WriteTransaction, _: &[Proposal]| {
        drop(t.open_table(CERTIFICATES).unwrap().remove(2).unwrap());
    };
    type Change = fn(&WriteTransaction, &[Proposal]);
    let cases: [(Change, TableName); 2] =
        [(flip_value, TableName::Values), (lose_certificate, TableName::Certificates)];
    for (change, table) in cases {
        let whole = Whole::new().changed(change);
        assert!(verify(&whole.bench).contains(&damage(table, 2, 0)), "{table}");
        let reader = whole.bench.store.reader().unwrap();
        assert!(!matches!(reader.payload(2), Ok(Some(payload)) if payload != whole.proposals[1].envelope), "{table}");
        let mut left = Vec::new();
        let mut note = |damage: Damage, fate| {
            if fate == Fate::Left {
                left.push(damage.table);
            }
        };
        whole.bench.store.repair(options(), |_| (), &mut note).unwrap();
        assert!(left.contains(&table), "{table}: {left:?}");
        assert!(whole.bench.store.mend_decided(&whole.decided[1]).unwrap(), "{table}");
        assert!(!whole.bench.store.mend_decided(&whole.decided[1]).unwrap(), "{table}");
        whole.assert_mended();
    }
}

#[test]
fn deep_looks_find_data_that_has_a_checksum_and_is_wrong() {
    let whole = Whole::new().changed(|transaction, proposals| {
        let hash = proposals[1].hash(0).0;
        let seed = u64::from_le_bytes(hash[..8].try_into().unwrap());
        let mut blobs = transaction.open_table(BLOBS).unwrap();
        let mut row = blobs.get(&hash).unwrap().unwrap().value().to_vec();
        let mut pieces = transaction.open_table(BLOB_PIECES).unwrap();
        let first = vec![0; 65_500];
        let second = pieces.get((BLOB, 1)).unwrap().unwrap().value().to_vec();
        pieces.insert((BLOB, 0), first.as_slice()).unwrap();
        let end = row.len() - 8;
        let mut hasher = Xxh3::with_seed(seed);
        [first.as_slice(), second.as_slice(), &row[112..end]].iter().for_each(|piece| hasher.update(piece));
        row[104..112].copy_from_slice(&hasher.digest().to_le_bytes());
        let checksum = xxh3_64_with_seed(&row[..end], seed).to_le_bytes();
        row[end..].copy_from_slice(&checksum);
        blobs.insert(&hash, row.as_slice()).unwrap();
    });
    let mut shallow = 0;
    whole.bench.store.verify(VerifyOptions::default(), |_| (), |_| shallow += 1).unwrap();
    assert_eq!(shallow, 0);
    assert_eq!(verify(&whole.bench), [damage(TableName::Blobs, 2, 0)]);
    assert_eq!(whole.assert_mended(), Repaired { dropped: 1, ..REPAIRED });
}

#[test]
fn rows_that_belong_to_nothing_go() {
    let whole = Whole::new().changed(|transaction, _| {
        let piece = vec![9; 65_500];
        transaction.open_table(BLOB_PIECES).unwrap().insert((900, 0), piece.as_slice()).unwrap();
        transaction.open_table(PAYLOAD_PIECES).unwrap().insert((900, 4), piece.as_slice()).unwrap();
        transaction.open_table(PLACES).unwrap().insert((&[9; 32], 2, 900, 1), ()).unwrap();
        transaction.open_table(VALUE_IDS).unwrap().insert(&[9; 32], 901).unwrap();
    });
    let tables: Vec<TableName> = verify(&whole.bench).iter().map(|damage| damage.table).collect();
    assert_eq!(tables, [TableName::ValueIds, TableName::Payloads, TableName::Places, TableName::Blobs]);
    assert_eq!(whole.assert_mended(), Repaired { orphans: 4, ..REPAIRED });
}

#[test]
fn damaged_proposals_hold_no_decision_up() {
    let bench = Bench::new();
    let (winner, loser) = (bench.chain.propose(&[1], 500), bench.chain.propose(&[2, 3], 600));
    for (round, proposal) in (0..).zip([&winner, &loser]) {
        bench.store.insert_undecided(round, &proposal.value, at(0)).unwrap();
        bench.store.insert(proposal.batch()).unwrap();
    }
    let mut bench = bench.reopen_after(|path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        for number in [1, 2] {
            for table in [VALUES, STATES, PAYLOADS] {
                transaction.open_table(table).unwrap().insert(number, [7; 60].as_slice()).unwrap();
            }
        }
        transaction.commit().unwrap();
    });
    let decided = bench.chain.decide(&winner);
    bench.store.mark_decided(&[decided]).unwrap();
    assert!(bench.store.missing(0..9, 9).unwrap()[0].payload, "a damaged payload is fetched again");
    bench.store.insert(winner.batch()).unwrap();
    assert_eq!(bench.store.watermarks().available, 1);
    let repaired = bench.store.repair(options(), |_| (), |_, _| ()).unwrap();
    assert!(repaired.orphans > 0, "what only the damaged proposal named");
    assert_eq!(verify(&bench), []);
    let tallies = bench.store.stats().unwrap().tallies;
    assert_eq!((tallies.blobs.held().count, tallies.undecided_bytes()), (1, 0));
}

#[test]
fn an_id_that_leads_to_another_value_does_it_no_harm() {
    let mut bench = Bench::new();
    let first = bench.whole(&[5, 6]);
    let proposed = bench.chain.propose(&[6, 7], 300);
    bench.store.insert_undecided(0, &proposed.value, at(0)).unwrap();
    bench.store.insert(proposed.batch()).unwrap();
    let mut bench = bench.reopen_after(|path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(VALUE_IDS).unwrap().insert(&proposed.value.id().0, 1).unwrap();
        transaction.commit().unwrap();
    });
    let Err(StoreError::Damaged(found)) = bench.store.get_undecided(proposed.value.id()) else { panic!("served") };
    assert_eq!(found.table, TableName::ValueIds);
    assert!(bench.store.insert(proposed.batch()).is_err());
    let decided = bench.chain.decide(&proposed);
    bench.store.mark_decided(&[decided]).unwrap();
    assert_eq!(bench.store.reader().unwrap().value_height(proposed.value.id()).unwrap(), Some(2));
    bench.store.insert(proposed.batch()).unwrap();
    assert_eq!(bench.store.watermarks().available, 2);
    assert_eq!(verify(&bench), []);
    assert_eq!(bench.store.reader().unwrap().payload(1).unwrap().as_ref(), Some(&first.envelope));
}

#[test]
fn pages_of_any_content_neither_panic_nor_hang_the_store() {
    let work = Work::new();
    let disk = Disk::default();
    work.run(&disk);
    let bytes = disk.bytes();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let (mut seen, mut refused) = (0, 0);
    for round in 0..240 {
        let mut bytes = bytes.clone();
        let at = 4096 * next(bytes.len() / 4096);
        let page = &mut bytes[at..at + 4096];
        match round % 3 {
            0 => page.fill_with(|| u8::try_from(next(256)).unwrap()),
            1 => page.fill(0),
            _ => (0..4).for_each(|_| page[next(64)] ^= 1 << next(8)),
        }
        let Ok(store) = Store::open_on(Arc::new(Disk::holding(bytes)), &work.chain.genesis, StoreConfig::default())
        else {
            refused += 1;
            continue;
        };
        let mut found = 0;
        let looked = store.verify(options(), |_| (), |_| found += 1);
        for height in 1..=store.watermarks().decided.min(20) {
            let Ok(reader) = store.reader() else { break };
            let _ = (reader.decided_value(height), reader.payload(height), reader.sidecar(height, 0));
        }
        let _ = store.prune_below(9, PruneOptions::default());
        let repaired = store.repair(options(), |_| (), |_, _| ());
        seen += u64::from(found > 0 || looked.is_err() || repaired.is_err());
    }
    assert!(seen > 20, "{seen} damages seen, {refused} stores refused");
}
