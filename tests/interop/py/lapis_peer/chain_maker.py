"""A chain that no line of Lapis had a part in: keys, votes, commitments and proofs are made here.

It is short and has what real chains have now and then: a validator set that changes and changes back, rounds above 0,
certificates without all signatures and in any order, the same blob at two places, heights without blobs, a payload of
many frames, one of no bytes, execution requests. Payloads are no execution blocks: a node that follows it runs without
an execution engine.
"""

import hashlib
import json
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lapis_peer import kzg
from lapis_peer.chain import Chain, Record
from lapis_peer.containers import (
    BlobSidecar,
    CommitCertificate,
    CommitSignature,
    DecidedValue,
    Genesis,
    PayloadEnvelope,
    Validator,
    ValidatorSet,
    Value,
    root_of,
)
from lapis_peer.verify import PRECOMMIT, Tip, address_of, requests_hash, signing_bytes

HEIGHTS = 16
RETENTION = 6
GENESIS_TIME = 1_700_000_000
ROUNDS = 3
LARGE_PAYLOAD_BYTES = 3_000_000
HEIGHT_OF_LARGE_PAYLOAD = 12
HEIGHT_OF_EMPTY_PAYLOAD = 13
# The second set signs from the first of these heights up to, not including, the other.
SECOND_SET_SIGNS = range(4, 10)
# Seeds of the blobs of a height, by height modulo 4.
BLOBS = [[], [1], [2, 3], [1, 2, 1]]
EXECUTION_REQUESTS = {2: [b"\x00deposit"], 14: [b"\x00" + bytes(192), b"\x02consolidation"]}


@dataclass(frozen=True)
class Signer:
    """A validator with its secret key."""

    key: Ed25519PrivateKey
    validator: Validator
    address: bytes


def signer(name: str, power: int) -> Signer:
    """The validator of this name."""
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    validator = Validator(public_key=key.public_key().public_bytes_raw(), power=power)
    return Signer(key, validator, address_of(validator))


def in_order(signers: list[Signer]) -> list[Signer]:
    """Ascending by address, as in a set."""
    return sorted(signers, key=lambda member: member.address)


FIRST_SET = in_order([signer(f"first {i}", power=1) for i in range(4)])
SECOND_SET = in_order([signer(f"second {i}", power=i) for i in range(1, 6)])


def set_of(signers: list[Signer]) -> ValidatorSet:
    """The container of a set."""
    return ValidatorSet(validators=[member.validator for member in signers])


def signers_at(height: int) -> list[Signer]:
    """Who signs a height."""
    return SECOND_SET if height in SECOND_SET_SIGNS else FIRST_SET


def make_chain() -> Chain:
    """The chain, always the same."""
    genesis = Genesis(
        chain_id=b"interop",
        genesis_time=GENESIS_TIME,
        max_blobs_per_block=6,
        blob_retention_heights=RETENTION,
        validators=set_of(FIRST_SET),
        execution_block_hash=hashlib.sha256(b"block 0").digest(),
        cancun_time=0,
        prague_time=0,
    )
    chain = Chain(genesis)
    proved = {seed: kzg.commit(kzg.blob_of_seed(seed)) for seed in (1, 2, 3)}
    tip = Tip.of_genesis(genesis)
    for height in range(1, HEIGHTS + 1):
        record = make_record(tip, chain.genesis_id, proved)
        chain.add(record, [set_of(signers_at(height + 1))])
        tip = Tip.of_value(record.decided.value)
    return chain


def make_record(tip: Tip, genesis_id: bytes, proved: dict[int, tuple[bytes, bytes]]) -> Record:
    """The height after `tip`."""
    height = tip.height + 1
    payload, requests, seeds = payload_of(height), EXECUTION_REQUESTS.get(height, []), BLOBS[height % len(BLOBS)]
    value = Value(
        height=height,
        timestamp=tip.timestamp + 1 + height % 3,
        parent_value_id=tip.value_id,
        proposer=signers_at(height)[height % 4].address,
        validators_root=root_of(set_of(signers_at(height))),
        next_validators_root=root_of(set_of(signers_at(height + 1))),
        block_hash=hashlib.sha256(f"block {height}".encode()).digest(),
        parent_block_hash=tip.block_hash,
        payload_digest=hashlib.sha256(payload).digest(),
        payload_size=len(payload),
        requests_hash=requests_hash(requests),
        blob_kzg_commitments=[proved[seed][0] for seed in seeds],
    )
    envelope = PayloadEnvelope(height=height, value_id=root_of(value), payload=payload, execution_requests=requests)
    sidecars = [
        BlobSidecar(
            height=height, index=index, kzg_commitment=proved[seed][0], kzg_proof=proved[seed][1],
            blob=kzg.blob_of_seed(seed),
        )
        for index, seed in enumerate(seeds)
    ]  # fmt: skip
    return Record(DecidedValue(value=value, certificate=certify(value, genesis_id)), envelope, sidecars)


def payload_of(height: int) -> bytes:
    """Bytes that do not compress."""
    if height == HEIGHT_OF_EMPTY_PAYLOAD:
        return b""
    size = LARGE_PAYLOAD_BYTES if height == HEIGHT_OF_LARGE_PAYLOAD else 1000 * height
    return hashlib.shake_128(f"payload {height}".encode()).digest(size)


def certify(value: Value, genesis_id: bytes) -> CommitCertificate:
    """No more signatures than are needed, the last signer first."""
    height, value_id = int(value.height), root_of(value)
    round_ = height % ROUNDS
    members = signers_at(height)
    total = sum(int(member.validator.power) for member in members)
    message = signing_bytes(genesis_id, PRECOMMIT, height, round_, value_id)
    signatures, power = [], 0
    for member in reversed(members):
        if 3 * power > 2 * total:
            break
        power += int(member.validator.power)
        signatures.append(CommitSignature(address=member.address, signature=member.key.sign(message)))
    return CommitCertificate(height=height, round=round_, value_id=value_id, signatures=signatures)


def genesis_json(genesis: Genesis) -> str:
    """The genesis as `lapis init` reads it."""
    members = [
        {"public_key": "0x" + bytes(member.public_key).hex(), "power": int(member.power)}
        for member in genesis.validators.validators
    ]
    numbers = ("genesis_time", "max_blobs_per_block", "blob_retention_heights", "cancun_time", "prague_time")
    fields: dict[str, object] = {name: int(getattr(genesis, name)) for name in numbers}
    fields["chain_id"] = bytes(genesis.chain_id).decode()
    fields["validators"] = members
    fields["execution_block_hash"] = "0x" + bytes(genesis.execution_block_hash).hex()
    return json.dumps(fields, indent=2) + "\n"


def genesis_from_json(text: str) -> Genesis:
    """The genesis in a file that `lapis init` reads."""
    fields = json.loads(text)
    members = [
        Validator(public_key=unhex(member["public_key"]), power=member["power"]) for member in fields["validators"]
    ]
    return Genesis(
        chain_id=fields["chain_id"].encode(),
        genesis_time=fields["genesis_time"],
        max_blobs_per_block=fields["max_blobs_per_block"],
        blob_retention_heights=fields["blob_retention_heights"],
        validators=ValidatorSet(validators=sorted(members, key=address_of)),
        execution_block_hash=unhex(fields["execution_block_hash"]),
        cancun_time=fields["cancun_time"],
        prague_time=fields["prague_time"],
    )


def unhex(text: str) -> bytes:
    """Bytes from hex, with or without `0x`."""
    return bytes.fromhex(text.removeprefix("0x"))
