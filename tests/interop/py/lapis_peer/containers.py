"""The SSZ containers of protocol-spec/spec/containers.md, in remerkleable's terms."""

from typing import TypeVar

from remerkleable.basic import uint8, uint64
from remerkleable.byte_arrays import ByteList, Bytes32, Bytes48, ByteVector
from remerkleable.complex import Container, List

MAX_BLOBS_PER_BLOCK = 4096
MAX_VALIDATORS = 1024
MAX_PAYLOAD_BYTES = 33_554_432
MAX_EXECUTION_REQUESTS = 64
MAX_EXECUTION_REQUEST_BYTES = 1_048_576
MAX_REQUEST_HEIGHTS = 128
MAX_REQUEST_HASHES = 1024
MAX_REQUEST_VALUE_IDS = 128
MAX_REQUEST_SIDECARS = 4096
BYTES_PER_BLOB = 131_072


class Bytes20(ByteVector[20]):
    """An address."""


class Bytes64(ByteVector[64]):
    """An ed25519 signature."""


class Blob(ByteVector[BYTES_PER_BLOB]):
    """4096 field elements of 32 bytes."""


class Value(Container):
    """What consensus decides. Its hash tree root is the value id."""

    height: uint64
    timestamp: uint64
    parent_value_id: Bytes32
    proposer: Bytes20
    validators_root: Bytes32
    next_validators_root: Bytes32
    block_hash: Bytes32
    parent_block_hash: Bytes32
    payload_digest: Bytes32
    payload_size: uint64
    requests_hash: Bytes32
    blob_kzg_commitments: List[Bytes48, MAX_BLOBS_PER_BLOCK]


class CommitSignature(Container):
    """One validator's precommit."""

    address: Bytes20
    signature: Bytes64


class CommitCertificate(Container):
    """Precommits of one round for one value."""

    height: uint64
    round: uint64
    value_id: Bytes32
    signatures: List[CommitSignature, MAX_VALIDATORS]


class DecidedValue(Container):
    """A value and the proof that it was decided."""

    value: Value
    certificate: CommitCertificate


class Validator(Container):
    """An ed25519 key and its power."""

    public_key: Bytes32
    power: uint64


class ValidatorSet(Container):
    """Validators in ascending order of their addresses."""

    validators: List[Validator, MAX_VALIDATORS]


class VoteSigningData(Container):
    """What a vote signs, byte for byte."""

    domain: Bytes32
    genesis_id: Bytes32
    kind: uint8
    height: uint64
    round: uint64
    value_id: Bytes32


class Genesis(Container):
    """What makes a chain. Its hash tree root is the genesis id."""

    chain_id: ByteList[64]
    genesis_time: uint64
    max_blobs_per_block: uint64
    blob_retention_heights: uint64
    validators: ValidatorSet
    execution_block_hash: Bytes32
    cancun_time: uint64
    prague_time: uint64


class Status(Container):
    """What a peer says of itself."""

    genesis_id: Bytes32
    decided_height: uint64
    decided_value_id: Bytes32
    available_height: uint64
    earliest_value_height: uint64
    earliest_payload_height: uint64
    earliest_blob_height: uint64


class HeightRange(Container):
    """The heights from `start_height` up to, not including, `start_height + count`."""

    start_height: uint64
    count: uint64


class PayloadEnvelope(Container):
    """The execution payload of a value, with its execution requests."""

    height: uint64
    value_id: Bytes32
    payload: ByteList[MAX_PAYLOAD_BYTES]
    execution_requests: List[ByteList[MAX_EXECUTION_REQUEST_BYTES], MAX_EXECUTION_REQUESTS]


class BlobSidecar(Container):
    """A blob with its place, commitment and proof."""

    height: uint64
    index: uint64
    kzg_commitment: Bytes48
    kzg_proof: Bytes48
    blob: Blob


ValueIds = List[Bytes32, MAX_REQUEST_VALUE_IDS]
VersionedHashes = List[Bytes32, MAX_REQUEST_HASHES]

CONTAINERS: dict[str, type[Container]] = {
    container.__name__: container
    for container in (
        Value,
        CommitSignature,
        CommitCertificate,
        DecidedValue,
        Validator,
        ValidatorSet,
        VoteSigningData,
        Genesis,
        Status,
        HeightRange,
        PayloadEnvelope,
        BlobSidecar,
    )
}


Item = TypeVar("Item", bound=Container)


def root_of(item: Container) -> bytes:
    """The hash tree root of `item`."""
    return bytes(item.hash_tree_root())


def decode_strictly(container: type[Item], ssz: bytes) -> Item:
    """Decodes `ssz`, and refuses everything but the one encoding of what it decodes to.

    Raises:
        ValueError: `ssz` is not the encoding of a `container`.
    """
    try:
        item: Item = container.decode_bytes(ssz)
    except Exception as error:  # remerkleable has no exception of its own
        raise ValueError(f"not a {container.__name__}: {error!r}") from error
    if bytes(item.encode_bytes()) != ssz:
        raise ValueError(f"not the encoding of a {container.__name__}")
    return item
