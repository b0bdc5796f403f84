"""A chain in memory, by height and by the hashes that others ask for."""

from dataclasses import dataclass

from lapis_peer.containers import (
    BlobSidecar,
    DecidedValue,
    Genesis,
    PayloadEnvelope,
    Status,
    ValidatorSet,
    root_of,
)
from lapis_peer.kzg import proofs_hold
from lapis_peer.verify import Tip, expect, verify_decided, verify_payload, versioned_hash


@dataclass(frozen=True)
class Record:
    """Everything that belongs to one height."""

    decided: DecidedValue
    payload: PayloadEnvelope
    sidecars: list[BlobSidecar]


class Chain:
    """The heights from 1 to `head`."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.genesis_id = root_of(genesis)
        self.records: dict[int, Record] = {}
        self.sets: dict[bytes, ValidatorSet] = {root_of(genesis.validators): genesis.validators}
        self.height_of_value: dict[bytes, int] = {}
        self.sidecar_of_hash: dict[bytes, BlobSidecar] = {}

    @property
    def head(self) -> int:
        """The highest height; 0 while there is none."""
        return len(self.records)

    def add(self, record: Record, sets: list[ValidatorSet]) -> None:
        """Appends a height, with the sets that it brings."""
        value = record.decided.value
        self.records[int(value.height)] = record
        self.height_of_value[root_of(value)] = int(value.height)
        for sidecar in record.sidecars:
            self.sidecar_of_hash.setdefault(versioned_hash(bytes(sidecar.kzg_commitment)), sidecar)
        for validators in sets:
            self.sets[root_of(validators)] = validators

    def status(self) -> Status:
        """What a peer that holds all of this chain says of itself."""
        head = self.head
        floor = 1 if head else 0
        return Status(
            genesis_id=self.genesis_id,
            decided_height=head,
            decided_value_id=root_of(self.records[head].decided.value) if head else bytes(32),
            available_height=head,
            earliest_value_height=floor,
            earliest_payload_height=floor,
            earliest_blob_height=floor,
        )

    def verify(self) -> None:
        """Checks certificates, links, payloads and proofs of all heights.

        Raises:
            Untrue: something does not hold.
        """
        tip = Tip.of_genesis(self.genesis)
        for height in range(1, self.head + 1):
            record = self.records[height]
            validators = self.sets[tip.next_validators_root]
            limit = int(self.genesis.max_blobs_per_block)
            tip = verify_decided(record.decided, tip, validators, self.genesis_id, limit)
            verify_payload(record.payload, record.decided.value)
            self._verify_blobs(record)

    def _verify_blobs(self, record: Record) -> None:
        commitments = [bytes(commitment) for commitment in record.decided.value.blob_kzg_commitments]
        expect([bytes(sidecar.kzg_commitment) for sidecar in record.sidecars] == commitments, "commitments")
        blobs = [bytes(sidecar.blob) for sidecar in record.sidecars]
        proofs = [bytes(sidecar.kzg_proof) for sidecar in record.sidecars]
        expect(proofs_hold(blobs, commitments, proofs), "proof")
