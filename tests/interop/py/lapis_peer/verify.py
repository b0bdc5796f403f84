"""What makes a value, a payload or a blob worth keeping: protocol-spec/spec/certificates.md and containers.md."""

import hashlib
import itertools
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from lapis_peer.containers import (
    CommitCertificate,
    DecidedValue,
    Genesis,
    PayloadEnvelope,
    Validator,
    ValidatorSet,
    Value,
    VoteSigningData,
    root_of,
)

VOTE_DOMAIN = hashlib.sha256(b"lapis/vote/1").digest()
PRECOMMIT = 2
MAX_TOTAL_POWER = 1 << 63


class Untrue(Exception):
    """An item does not hold. `name` is the fault's name in the specification, where it has one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Tip:
    """What the next value must attach to."""

    height: int
    value_id: bytes
    next_validators_root: bytes
    block_hash: bytes
    timestamp: int

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> "Tip":
        """The tip before height 1."""
        return cls(
            height=0,
            value_id=bytes(32),
            next_validators_root=root_of(genesis.validators),
            block_hash=bytes(genesis.execution_block_hash),
            timestamp=int(genesis.genesis_time),
        )

    @classmethod
    def of_value(cls, value: Value) -> "Tip":
        """The tip after `value`."""
        return cls(
            height=int(value.height),
            value_id=root_of(value),
            next_validators_root=bytes(value.next_validators_root),
            block_hash=bytes(value.block_hash),
            timestamp=int(value.timestamp),
        )


def address_of(validator: Validator) -> bytes:
    """The address of a validator."""
    return hashlib.sha256(bytes(validator.public_key)).digest()[:20]


def versioned_hash(commitment: bytes) -> bytes:
    """The name of the blob with this commitment, as in EIP-4844."""
    return b"\x01" + hashlib.sha256(commitment).digest()[1:]


def requests_hash(requests: list[bytes]) -> bytes:
    """The EIP-7685 hash of execution requests."""
    return hashlib.sha256(b"".join(hashlib.sha256(request).digest() for request in requests)).digest()


def signing_bytes(genesis_id: bytes, kind: int, height: int, round_: int, value_id: bytes) -> bytes:
    """The bytes that a vote signs."""
    data = VoteSigningData(
        domain=VOTE_DOMAIN, genesis_id=genesis_id, kind=kind, height=height, round=round_, value_id=value_id
    )
    return bytes(data.encode_bytes())


def is_legal(validators: ValidatorSet) -> bool:
    """Whether a set has members, in order, each with power, and not too much of it together."""
    addresses = [address_of(validator) for validator in validators.validators]
    powers = [int(validator.power) for validator in validators.validators]
    ascending = all(one < two for one, two in itertools.pairwise(addresses))
    return bool(powers) and ascending and min(powers) >= 1 and sum(powers) < MAX_TOTAL_POWER


def verify_decided(
    decided: DecidedValue, tip: Tip, validators: ValidatorSet, genesis_id: bytes, max_blobs_per_block: int
) -> Tip:
    """Checks a decided value in the order of the specification. The result is the tip after it.

    Raises:
        Untrue: with the name of the first fault.
    """
    value, certificate = decided.value, decided.certificate
    value_id = root_of(value)
    expect(value.height == tip.height + 1, "Height")
    expect(bytes(value.parent_value_id) == tip.value_id, "ParentValue")
    expect(bytes(value.validators_root) == tip.next_validators_root, "ValidatorsRoot")
    expect(bytes(value.parent_block_hash) == tip.block_hash, "ParentBlock")
    expect(value.timestamp > tip.timestamp, "Timestamp")
    expect(len(value.blob_kzg_commitments) <= max_blobs_per_block, "TooManyBlobs")
    expect(certificate.height == value.height, "CertificateHeight")
    expect(bytes(certificate.value_id) == value_id, "CertificateValue")
    expect(root_of(validators) == bytes(value.validators_root), "OtherSet")
    expect(is_legal(validators), "IllegalSet")
    verify_certificate(certificate, validators, genesis_id)
    return Tip.of_value(value)


def verify_certificate(certificate: CommitCertificate, validators: ValidatorSet, genesis_id: bytes) -> None:
    """Checks signers, power and signatures.

    `cryptography` is stricter than the protocol's ZIP 215 about points that no honest key or signature has.
    """
    members = {address_of(validator): validator for validator in validators.validators}
    signed: set[bytes] = set()
    for signature in certificate.signatures:
        address = bytes(signature.address)
        expect(address in members, "UnknownSigner")
        expect(address not in signed, "DuplicateSigner")
        signed.add(address)
    power = sum(int(members[address].power) for address in signed)
    total = sum(int(validator.power) for validator in members.values())
    expect(3 * power > 2 * total, "Power")
    message = signing_bytes(
        genesis_id, PRECOMMIT, int(certificate.height), int(certificate.round), bytes(certificate.value_id)
    )
    for signature in certificate.signatures:
        key = Ed25519PublicKey.from_public_bytes(bytes(members[bytes(signature.address)].public_key))
        try:
            key.verify(bytes(signature.signature), message)
        except InvalidSignature:
            raise Untrue("Signature") from None


def verify_payload(envelope: PayloadEnvelope, value: Value) -> None:
    """Checks that a payload belongs to `value`.

    Raises:
        Untrue: it does not.
    """
    payload = bytes(envelope.payload)
    requests = [bytes(request) for request in envelope.execution_requests]
    expect(bytes(envelope.value_id) == root_of(value) and envelope.height == value.height, "another value's payload")
    expect(len(payload) == value.payload_size, "payload size")
    expect(all(len(request) >= 2 for request in requests), "request without content")
    expect(requests_hash(requests) == bytes(value.requests_hash), "requests hash")
    expect(hashlib.sha256(payload).digest() == bytes(value.payload_digest), "payload digest")


def expect(condition: bool, name: str) -> None:
    """Raises `Untrue(name)` unless `condition` holds."""
    if not condition:
        raise Untrue(name)
