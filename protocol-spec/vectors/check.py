#!/usr/bin/env python3
"""Checks the SSZ and hash vectors with remerkleable, an SSZ implementation that shares no code with this project.

    pip install remerkleable==0.1.28
    python3 check.py

The signatures are checked too if the package `cryptography` is installed, and the checksums of indexes if `xxhash` is.
"""

import hashlib
import json
import pathlib
import sys

from remerkleable.basic import uint8, uint64
from remerkleable.byte_arrays import ByteList, ByteVector, Bytes32, Bytes48
from remerkleable.complex import Container, List

Bytes20, Bytes64 = ByteVector[20], ByteVector[64]


class Value(Container):
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
    blob_kzg_commitments: List[Bytes48, 4096]


class CommitSignature(Container):
    address: Bytes20
    signature: Bytes64


class CommitCertificate(Container):
    height: uint64
    round: uint64
    value_id: Bytes32
    signatures: List[CommitSignature, 1024]


class DecidedValue(Container):
    value: Value
    certificate: CommitCertificate


class Validator(Container):
    public_key: Bytes32
    power: uint64


class ValidatorSet(Container):
    validators: List[Validator, 1024]


class VoteSigningData(Container):
    domain: Bytes32
    genesis_id: Bytes32
    kind: uint8
    height: uint64
    round: uint64
    value_id: Bytes32


class Genesis(Container):
    chain_id: ByteList[64]
    genesis_time: uint64
    max_blobs_per_block: uint64
    blob_retention_heights: uint64
    validators: ValidatorSet
    execution_block_hash: Bytes32
    cancun_time: uint64
    prague_time: uint64


class Status(Container):
    genesis_id: Bytes32
    decided_height: uint64
    decided_value_id: Bytes32
    available_height: uint64
    earliest_value_height: uint64
    earliest_payload_height: uint64
    earliest_blob_height: uint64


class HeightRange(Container):
    start_height: uint64
    count: uint64


class PayloadEnvelope(Container):
    height: uint64
    value_id: Bytes32
    payload: ByteList[33554432]
    execution_requests: List[ByteList[1048576], 64]


class BlobSidecar(Container):
    height: uint64
    index: uint64
    kzg_commitment: Bytes48
    kzg_proof: Bytes48
    blob: ByteVector[131072]


HERE = pathlib.Path(__file__).parent
CONTAINERS = {cls.__name__: cls for cls in Container.__subclasses__()}


def load(name):
    return json.loads((HERE / name).read_text())


def unhex(text):
    return bytes.fromhex(text.removeprefix("0x"))


def blob_of(seed):
    return b"".join(((seed << 32) + i).to_bytes(32, "big") for i in range(4096))


def check(condition, name):
    check.count += 1
    if not condition:
        sys.exit(f"differs: {name}")


check.count = 0


def check_containers(file):
    for case in file["containers"]:
        ssz = unhex(case["ssz"])
        decoded = CONTAINERS[case["type"]].decode_bytes(ssz)
        check(decoded.encode_bytes() == ssz, case["name"])
        check(bytes(decoded.hash_tree_root()) == unhex(case["root"]), case["name"])
    sidecar = file["sidecar"]
    ssz = unhex(sidecar["header"]) + blob_of(sidecar["blob_seed"])
    check(hashlib.sha256(ssz).digest() == unhex(sidecar["ssz_sha256"]), "sidecar")
    root = BlobSidecar.decode_bytes(ssz).hash_tree_root()
    check(bytes(root) == unhex(sidecar["root"]), "sidecar root")


def check_hashes(hashes):
    for case in hashes["versioned_hashes"]:
        digest = hashlib.sha256(unhex(case["commitment"])).digest()
        check(b"\x01" + digest[1:] == unhex(case["versioned_hash"]), "versioned hash")
    for case in hashes["requests_hash"]:
        inner = b"".join(hashlib.sha256(unhex(request)).digest() for request in case["requests"])
        check(hashlib.sha256(inner).digest() == unhex(case["hash"]), "requests hash")
    check(hashlib.sha256(unhex(hashes["payload"])).digest() == unhex(hashes["payload_digest"]), "payload")
    domain = hashes["vote_domain"]
    check(hashlib.sha256(domain["text"].encode()).digest() == unhex(domain["sha256"]), "domain")


def check_certificates(file, domain):
    genesis = Genesis.decode_bytes(unhex(file["genesis"]["ssz"]))
    check(bytes(genesis.hash_tree_root()) == unhex(file["genesis"]["id"]), "genesis id")
    for key in file["keys"]:
        check(hashlib.sha256(unhex(key["public_key"])).digest()[:20] == unhex(key["address"]), "address")
    for case in file["signing"]:
        kind = {"prevote": 1, "precommit": 2}[case["kind"]]
        data = VoteSigningData(
            domain=domain, genesis_id=unhex(file["genesis"]["id"]), kind=kind, height=case["height"],
            round=case["round"], value_id=unhex(case["value_id"]))
        check(data.encode_bytes() == unhex(case["signing_bytes"]), "signing bytes")
    for case in file["cases"] + file["chain"]:
        decided = DecidedValue.decode_bytes(unhex(case["decided_value"]))
        same = bytes(decided.value.hash_tree_root()) == bytes(decided.certificate.value_id)
        check(same == (case["expected"] != "CertificateValue"), case["name"])
        signers = ValidatorSet.decode_bytes(unhex(case["signers"])).hash_tree_root()
        if case["expected"] in ("valid", "Power", "Signature", "IllegalSet"):
            check(signers == decided.value.validators_root, case["name"])


def check_signatures(file):
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return "signatures not checked: no package `cryptography`"
    secrets = {key["address"]: key["secret_key"] for key in file["keys"]}
    for case in file["signing"]:
        for signature in case["signatures"]:
            key = Ed25519PrivateKey.from_private_bytes(unhex(secrets[signature["address"]]))
            made = key.sign(unhex(case["signing_bytes"]))
            check(made == unhex(signature["signature"]), "signature")
    return "signatures checked"


class Fields:
    """A cursor over the fields of an index or an archive."""

    def __init__(self, content):
        self.rest = content

    def take(self, count):
        check(count <= len(self.rest), "a field that is cut off")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def number(self, count):
        return int.from_bytes(self.take(count), "little")

    def frame(self):
        kind, length = self.number(1), self.number(4)
        return kind, self.take(length)


def checksum_of():
    try:
        from xxhash import xxh3_64_intdigest
    except ImportError:
        return None
    return lambda content: xxh3_64_intdigest(content).to_bytes(8, "little")


def check_index(case, checksum):
    content, stated = unhex(case["index"])[:-8], unhex(case["index"])[-8:]
    if checksum:
        check(checksum(content) == stated, case["name"])
    fields = Fields(content)
    check(fields.take(12) == bytes.fromhex("894c415049580d0a0100") + bytes([case["compression"], 0]), case["name"])
    check((fields.number(8), fields.number(8)) == (case["first"], case["last"]), case["name"])
    check(fields.take(32) == unhex(case["genesis_id"]), case["name"])
    offset = fields.number(8)
    for height, record in enumerate(case["records"], case["first"]):
        for ssz in record["sets"]:
            check(fields.frame() == (2, unhex(ssz)), case["name"])
            ValidatorSet.decode_bytes(unhex(ssz))
        ssz = unhex(record["decided_value"])
        check(fields.frame() == (3, ssz), case["name"])
        value = DecidedValue.decode_bytes(ssz).value
        check(value.height == height, case["name"])
        check(len(record["parts"]) == 1 + -(-len(value.blob_kzg_commitments) // 16), case["name"])
        for start, end in record["parts"]:
            check((start, end) == (offset, offset + fields.number(4)), case["name"])
            offset = end
    check(not fields.rest, case["name"])


def check_parts(index, archive):
    stored = unhex(archive["archive"])
    payloads = [unhex(frame["content"]) for frame in archive["frames"] if frame["kind"] == 4]
    for record, payload in zip(index["records"], payloads, strict=True):
        (start, end), = record["parts"]
        part = Fields(stored[start:end])
        kinds = []
        while part.rest:
            kind, content = part.frame()
            kinds.append(kind)
            check(kind != 4 or content == payload, "payload of a part")
        check(kinds == [1] + [2] * len(record["sets"]) + [3, 4, 6], "frames of a part")


def check_indexes(file, archives):
    checksum = checksum_of()
    for case in file["good"]:
        check_index(case, checksum)
    check_parts(file["good"][0], archives["good"][0])
    return "checksums checked" if checksum else "checksums not checked: no package `xxhash`"


def main():
    containers, certificates = load("containers.json"), load("certificates.json")
    check_containers(containers)
    check_hashes(containers["hashes"])
    check_certificates(certificates, unhex(containers["hashes"]["vote_domain"]["sha256"]))
    print(check_signatures(certificates))
    print(check_indexes(load("indexes.json"), load("archives.json")))
    for case in load("proofs.json")["blobs"]:
        check(hashlib.sha256(blob_of(case["blob_seed"])).digest() == unhex(case["sha256"]), "blob")
    print(f"{check.count} comparisons, no difference")


if __name__ == "__main__":
    main()
