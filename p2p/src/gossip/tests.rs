use super::*;

fn raw(topic: &IdentTopic, data: Vec<u8>) -> RawMessage {
    RawMessage {
        source: None,
        data,
        sequence_number: None,
        topic: topic.hash(),
        signature: None,
        key: None,
        validated: false,
    }
}

#[test]
fn topic_has_the_first_four_bytes_of_the_genesis_id() {
    let mut genesis_id = Bytes32::ZERO;
    genesis_id.0[..5].copy_from_slice(&[0xde, 0xad, 0x0b, 0xef, 0x77]);
    assert_eq!(topic(&genesis_id).hash().as_str(), "/lapis/dead0bef/decided_value/ssz_snappy");
}

#[test]
fn message_id_is_over_topic_and_uncompressed_bytes() {
    let topic = topic(&Bytes32::ZERO);
    let bytes = ssz::encode(&DecidedValue::default());
    let compressed = Snappy.outbound_transform(&topic.hash(), bytes.clone()).unwrap();
    assert_eq!(snap::raw::decompress_len(&compressed).unwrap(), bytes.len());
    let message = Snappy.inbound_transform(raw(&topic, compressed)).unwrap();
    let mut preimage = topic.hash().as_str().as_bytes().to_vec();
    preimage.extend(&bytes);
    assert_eq!(message_id(&message).0, Sha256::digest(preimage)[..20]);
    assert_eq!(*decode(&message).unwrap(), DecidedValue::default());
}

#[test]
fn a_bomb_and_garbage_are_not_decompressed_and_do_not_decode() {
    let topic = topic(&Bytes32::ZERO);
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 10 * 1024 * 1024]).unwrap();
    let plain = ssz::encode(&DecidedValue::default());
    let mut announces_gigabytes = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    announces_gigabytes.extend([0; 16]);
    let mut ids = std::collections::HashSet::new();
    for data in [bomb, plain, announces_gigabytes, Vec::new(), vec![1, 2, 3]] {
        let message = Snappy.inbound_transform(raw(&topic, data)).unwrap();
        assert!(message.data.len() <= 64);
        assert!(decode(&message).is_none());
        ids.insert(message_id(&message));
    }
    assert_eq!(ids.len(), 5, "each has an id of its own, so each sender is charged");
}

#[test]
fn the_newest_ids_are_remembered_and_no_more_than_so_many() {
    let id = |number: usize| MessageId::new(&number.to_be_bytes());
    let mut recent = Recent::default();
    for number in 0..RECENT * 3 {
        recent.insert(id(number));
        recent.insert(id(number));
    }
    assert_eq!((recent.ids.len(), recent.order.len()), (RECENT, RECENT));
    assert!(recent.contains(&id(RECENT * 2)) && recent.contains(&id(RECENT * 3 - 1)));
    assert!(!recent.contains(&id(RECENT * 2 - 1)));
}
