//! Stage two: payloads and blobs.

use lapis_protocol_spec::{Bytes32, HeightRanges, Matched, PayloadFault, encode};
use lapis_storage::{Batch, BlobStatus, Conflict, StoreConfig, StoreError};

use crate::fixture::{Bench, KZG, at, sidecar};

#[test]
fn blobs_and_payloads_come_back_byte_for_byte() {
    let mut bench = Bench::new();
    let (mut proposals, mut decided) = (Vec::new(), Vec::new());
    // Payload sizes around every piece boundary, the empty one, and one of several large pieces.
    for bytes in [0, 1, 4011, 4012, 4013, 8107, 8108, 65_451, 65_452, 65_453, 300_000] {
        let proposal = bench.chain.propose(&[bytes], usize::try_from(bytes).unwrap());
        decided.push(bench.chain.decide(&proposal));
        proposals.push(proposal);
    }
    bench.store.mark_decided(&decided).unwrap();
    for proposal in &proposals {
        bench.store.insert(proposal.batch()).unwrap();
    }
    let bench = bench.reopen_after(|_| ());
    let reader = bench.store.reader().unwrap();
    for proposal in &proposals {
        let height = proposal.height();
        assert_eq!(reader.payload(height).unwrap().as_ref(), Some(&proposal.envelope));
        assert_eq!(reader.payload_by_id(proposal.value.id()).unwrap().as_ref(), Some(&proposal.envelope));
        let encoded = reader.with_payload(height, |pieces| pieces.concat()).unwrap().unwrap();
        assert_eq!(encoded, encode(&proposal.envelope));
        assert_eq!(reader.payload_size(height).unwrap(), Some(encoded.len() as u64));
        assert_eq!(reader.sidecar(height, 0).unwrap().as_ref(), Some(&proposal.sidecars[0]));
        let encoded = reader.with_sidecar(height, 0, |pieces| pieces.concat()).unwrap().unwrap();
        assert_eq!(encoded, encode(&proposal.sidecars[0]));
        let by_hash = reader.with_sidecar_by_hash(&proposal.hash(0), |h, i, pieces| (h, i, pieces.concat()));
        assert_eq!(by_hash.unwrap().unwrap(), (height, 0, encoded));
        assert_eq!(reader.place_of(&proposal.hash(0)).unwrap(), Some((height, 0)));
        assert!(reader.has_height_whole(height).unwrap());
        assert_eq!(reader.sidecar(height, 1).unwrap(), None);
    }
    assert!(!reader.has_height_whole(0).unwrap() && !reader.has_height_whole(99).unwrap());
}

#[test]
fn available_follows_the_lowest_gap() {
    let mut bench = Bench::new();
    let proposals: Vec<_> = [&[1_u64, 2][..], &[], &[3]].map(|seeds| bench.decided(seeds)).into();
    assert!(bench.store.insert(proposals[2].batch()).unwrap().newly_available.is_empty());
    assert_eq!(bench.store.gaps(), std::iter::once(1..3).collect::<HeightRanges>());
    let blobs = Batch { blobs: proposals[0].blobs([0, 1]), ..Batch::default() };
    assert!(bench.store.insert(blobs).unwrap().newly_available.is_empty());
    let payload = Batch { payloads: vec![proposals[0].payload()], ..Batch::default() };
    assert_eq!(bench.store.insert(payload).unwrap().newly_available, 1..2);
    let inserted = bench.store.insert(proposals[1].batch()).unwrap();
    assert_eq!(inserted.newly_available, 2..4, "the height that waited comes along");
    assert_eq!(inserted.watermarks.available, 3);
    let import = bench.store.get_for_import(3).unwrap().unwrap();
    assert_eq!((import.decided.value.height, import.payload), (3, proposals[2].envelope.clone()));
}

#[test]
fn one_blob_fills_all_its_places() {
    let mut bench = Bench::new();
    // Twice in height 1, once in height 2, once in an undecided value of height 3.
    let first = bench.decided(&[7, 8, 7]);
    let second = bench.decided(&[7]);
    let third = bench.chain.propose(&[7, 9], 10);
    bench.store.insert_undecided(0, &third.value, at(0)).unwrap();
    let inserted = bench.store.insert(Batch { blobs: first.blobs([0]), ..Batch::default() }).unwrap();
    assert_eq!((inserted.blobs, inserted.duplicates), (1, 0));
    let missing = bench.store.missing(0..u64::MAX, 9).unwrap();
    assert_eq!(missing.iter().map(|m| m.blobs.clone()).collect::<Vec<_>>(), [vec![1], vec![]]);
    let again = Batch { blobs: [first.blobs([2]), second.blobs([0])].concat(), ..Batch::default() };
    let inserted = bench.store.insert(again).unwrap();
    assert_eq!((inserted.blobs, inserted.duplicates), (0, 2));
    assert_eq!(bench.store.get_undecided(third.value.id()).unwrap().unwrap().missing_blobs, [1]);
    let reader = bench.store.reader().unwrap();
    for (height, index) in [(1, 0), (1, 2), (2, 0)] {
        let found = reader.sidecar(height, index).unwrap().unwrap();
        assert_eq!((found.height, found.index, found.blob), (height, index, first.sidecars[0].blob.clone()));
    }
    assert_eq!(reader.place_of(&first.hash(0)).unwrap(), Some((2, 0)));
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, 1);
}

#[test]
fn an_item_of_an_unknown_value_aborts_the_batch_and_is_named() {
    let mut bench = Bench::new();
    let known = bench.decided(&[1]);
    let unknown = bench.chain.propose(&[2], 10);
    let batch = Batch { payloads: vec![known.payload(), unknown.payload()], blobs: known.blobs([0]) };
    let Err(StoreError::Conflict(conflict)) = bench.store.insert(batch) else { panic!("stored") };
    assert_eq!(conflict, Conflict::UnknownValue { height: 2, value_id: *unknown.value.id() });
    let batch = Batch { blobs: [known.blobs([0]), unknown.blobs([0])].concat(), ..Batch::default() };
    assert!(bench.store.insert(batch).is_err());
    let blobs = vec![known.matched(0), unknown.matched(0)];
    let Err(StoreError::Conflict(again)) = bench.store.verify_and_store(&KZG, Vec::new(), blobs) else {
        panic!("stored")
    };
    assert_eq!(again, conflict);
    assert_eq!(bench.store.reader().unwrap().sidecar(1, 0).unwrap(), None);
    assert_eq!(bench.store.stats().unwrap().tallies.blobs.held().count, 0);
}

#[test]
fn verify_and_store_names_the_faulty_and_keeps_the_good() {
    let mut bench = Bench::new();
    let good = bench.decided(&[1, 2, 3]);
    let bad = bench.decided(&[4]);
    let mut wrong_proof = good.sidecars[1].clone();
    wrong_proof.kzg_proof = sidecar(9).kzg_proof;
    let wrong_proof = Matched::blob(wrong_proof, &good.value, 1).unwrap();
    let mut wrong_payload = bad.envelope.clone();
    wrong_payload.payload = good.envelope.payload.clone();
    let wrong_payload = Matched::payload(wrong_payload, &bad.value).unwrap();
    let blobs = vec![good.matched(0), wrong_proof, good.matched(2)];
    let outcome = bench.store.verify_and_store(&KZG, vec![good.matched_payload(), wrong_payload], blobs).unwrap();
    assert_eq!(outcome.faulty_blobs, [(1, 1)]);
    assert_eq!(outcome.faulty_payloads, [(2, PayloadFault::Digest)]);
    assert_eq!((outcome.inserted.payloads, outcome.inserted.blobs), (1, 2));
    let missing = bench.store.missing(1..3, 2).unwrap();
    assert_eq!((missing[0].payload, &missing[0].blobs), (false, &vec![1]));
    assert_eq!((missing[1].payload, &missing[1].blobs), (true, &vec![0]));
}

#[test]
fn a_height_of_1024_blobs() {
    let mut bench = Bench::with(StoreConfig { cache_bytes: 16 << 20, ..StoreConfig::default() });
    let seeds: Vec<u64> = (0..1024).collect();
    let proposal = bench.decided(&seeds);
    bench.store.insert(Batch { payloads: vec![proposal.payload()], ..Batch::default() }).unwrap();
    let mut newly = 0..0;
    for chunk in (0..1024).collect::<Vec<_>>().chunks(128) {
        assert!(newly.is_empty(), "not available before its last blob");
        let batch = Batch { blobs: proposal.blobs(chunk.iter().copied()), ..Batch::default() };
        newly = bench.store.insert(batch).unwrap().newly_available;
    }
    assert_eq!(newly, 1..2);
    let reader = bench.store.reader().unwrap();
    for index in [0, 1, 511, 1023] {
        let found = reader.sidecar(1, index).unwrap();
        assert_eq!(found.as_ref(), proposal.sidecars.get(usize::try_from(index).unwrap()));
    }
    assert_eq!(reader.sidecar(1, 1024).unwrap(), None);
    bench.store.mark_imported(1, Some(b"head")).unwrap();
    let options = lapis_storage::PruneOptions::default();
    let steps = (0..).map(|_| bench.store.prune_below(2, options).unwrap());
    let mut blobs = 0;
    let last = steps.inspect(|step| blobs += step.blobs).find(|step| step.blobs < options.max_blobs.get());
    assert_eq!((blobs, last.map(|step| step.done)), (1024, Some(true)));
    assert_eq!(bench.store.blob_status(&proposal.hash(1023)).unwrap(), BlobStatus::Pruned);
}

#[test]
fn a_hash_never_seen_is_unknown() {
    let bench = Bench::new();
    let hash = Bytes32::from([1; 32]);
    assert_eq!(bench.store.blob_status(&hash).unwrap(), BlobStatus::Unknown);
    let reader = bench.store.reader().unwrap();
    assert_eq!(reader.with_sidecar_by_hash(&hash, |_, _, _| ()).unwrap(), None);
    assert_eq!(reader.place_of(&hash).unwrap(), None);
}
