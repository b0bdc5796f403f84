#!/usr/bin/env python3
"""Checks the SSZ and hash vectors with remerkleable, an SSZ implementation that shares no code with this project.

    pip install remerkleable==0.1.28
    python3 check.py

The signatures are checked too if the package `cryptography` is installed.
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


def main():
    containers, certificates = load("containers.json"), load("certificates.json")
    check_containers(containers)
    check_hashes(containers["hashes"])
    check_certificates(certificates, unhex(containers["hashes"]["vote_domain"]["sha256"]))
    print(check_signatures(certificates))
    for case in load("proofs.json")["blobs"]:
        check(hashlib.sha256(blob_of(case["blob_seed"])).digest() == unhex(case["sha256"]), "blob")
    print(f"{check.count} comparisons, no difference")


if __name__ == "__main__":
    main()
