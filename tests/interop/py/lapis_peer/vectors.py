"""Everything in protocol-spec/vectors and protocol-spec/spec/vectors, held against this peer's own code."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lapis_peer import archive, framing, kzg, verify
from lapis_peer.archive_index import read_index
from lapis_peer.containers import (
    CONTAINERS,
    BlobSidecar,
    DecidedValue,
    Genesis,
    HeightRange,
    ValidatorSet,
    decode_strictly,
    root_of,
)
from lapis_peer.framing import Bounds, Chunk, WireFault
from lapis_peer.methods import METHODS
from lapis_peer.ranges import IllegalRange, heights_of
from lapis_peer.requests import decode_request
from lapis_peer.sources import ReadsSource
from lapis_peer.verify import Tip, Untrue

Json = Any


class Differs(Exception):
    """This peer and a vector do not agree."""


class Tally:
    """Counts comparisons."""

    def __init__(self) -> None:
        self.count = 0

    def same(self, got: object, expected: object, name: str) -> None:
        """Holds `got` against what the vector says."""
        self.count += 1
        if got != expected:
            raise Differs(f"{name}: {got!r}, expected {expected!r}")


def check_all(spec: Path) -> Iterator[tuple[str, int]]:
    """Checks each file of `spec` (the folder protocol-spec). Gives its name and the number of comparisons.

    Raises:
        Differs: at the first difference.
    """
    for name, check in CHECKS.items():
        tally = Tally()
        try:
            check(json.loads((spec / name).read_text()), tally)
        except (Untrue, WireFault, ValueError) as error:
            raise Differs(f"{name}: {error!r} after {tally.count} comparisons") from error
        yield name, tally.count


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def check_containers(file: Json, tally: Tally) -> None:
    for case in file["containers"]:
        item = decode_strictly(CONTAINERS[case["type"]], unhex(case["ssz"]))
        tally.same(root_of(item), unhex(case["root"]), case["name"])
    for case in file["refused"]:
        tally.same(decodes(case["type"], unhex(case["ssz"])), False, case["name"])
    sidecar = file["sidecar"]
    ssz = unhex(sidecar["header"]) + kzg.blob_of_seed(sidecar["blob_seed"])
    tally.same(hashlib.sha256(ssz).digest(), unhex(sidecar["ssz_sha256"]), "sidecar")
    tally.same(root_of(decode_strictly(BlobSidecar, ssz)), unhex(sidecar["root"]), "root of the sidecar")
    check_hashes(file["hashes"], tally)


def decodes(container: str, ssz: bytes) -> bool:
    try:
        decode_strictly(CONTAINERS[container], ssz)
    except ValueError:
        return False
    return True


def check_hashes(hashes: Json, tally: Tally) -> None:
    for case in hashes["versioned_hashes"]:
        tally.same(verify.versioned_hash(unhex(case["commitment"])), unhex(case["versioned_hash"]), "versioned hash")
    for case in hashes["requests_hash"]:
        requests = [unhex(request) for request in case["requests"]]
        tally.same(verify.requests_hash(requests), unhex(case["hash"]), "requests hash")
    tally.same(hashlib.sha256(unhex(hashes["payload"])).digest(), unhex(hashes["payload_digest"]), "payload digest")
    tally.same(verify.VOTE_DOMAIN, unhex(hashes["vote_domain"]["sha256"]), "domain of votes")


def check_certificates(file: Json, tally: Tally) -> None:
    genesis = decode_strictly(Genesis, unhex(file["genesis"]["ssz"]))
    genesis_id = root_of(genesis)
    tally.same(genesis_id, unhex(file["genesis"]["id"]), "genesis id")
    check_signing(file, genesis_id, tally)
    for case in file["cases"] + file["chain"]:
        decided = decode_strictly(DecidedValue, unhex(case["decided_value"]))
        signers = decode_strictly(ValidatorSet, unhex(case["signers"]))
        try:
            verify.verify_decided(decided, tip_of(case["tip"]), signers, genesis_id, file["max_blobs_per_block"])
            outcome = "valid"
        except Untrue as fault:
            outcome = fault.name
        tally.same(outcome, case["expected"], case["name"])


def tip_of(tip: Json) -> Tip:
    return Tip(
        height=tip["height"],
        value_id=unhex(tip["value_id"]),
        next_validators_root=unhex(tip["next_validators_root"]),
        block_hash=unhex(tip["block_hash"]),
        timestamp=tip["timestamp"],
    )


def check_signing(file: Json, genesis_id: bytes, tally: Tally) -> None:
    secrets = {key["address"]: unhex(key["secret_key"]) for key in file["keys"]}
    for key in file["keys"]:
        made = Ed25519PrivateKey.from_private_bytes(unhex(key["secret_key"])).public_key().public_bytes_raw()
        tally.same(made, unhex(key["public_key"]), "public key")
        tally.same(hashlib.sha256(made).digest()[:20], unhex(key["address"]), "address")
    for case in file["signing"]:
        kind = {"prevote": 1, "precommit": 2}[case["kind"]]
        message = verify.signing_bytes(genesis_id, kind, case["height"], case["round"], unhex(case["value_id"]))
        tally.same(message, unhex(case["signing_bytes"]), f"what a {case['kind']} signs")
        for signature in case["signatures"]:
            signed = Ed25519PrivateKey.from_private_bytes(secrets[signature["address"]]).sign(message)
            tally.same(signed, unhex(signature["signature"]), "signature")


def check_proofs(file: Json, tally: Tally) -> None:
    tally.same(kzg.SETUP_SHA256, file["trusted_setup_sha256"].removeprefix("0x"), "trusted setup")
    for case in file["blobs"]:
        blob = kzg.blob_of_seed(case["blob_seed"])
        tally.same(hashlib.sha256(blob).digest(), unhex(case["sha256"]), "blob")
        commitment, proof = kzg.commit(blob)
        tally.same(commitment, unhex(case["commitment"]), "commitment")
        tally.same(proof, unhex(case["proof"]), "proof")
        tally.same(verify.versioned_hash(commitment), unhex(case["versioned_hash"]), "versioned hash")
    for case in file["cases"]:
        spoiled = bytearray(kzg.blob_of_seed(case["blob_seed"]))
        if replaced := case.get("field_element"):
            place = 32 * replaced["position"]
            spoiled[place : place + 32] = unhex(replaced["value"])
        holds = kzg.proof_holds(bytes(spoiled), unhex(case["commitment"]), unhex(case["proof"]))
        tally.same(holds, case["valid"], case["name"])


def check_requests(file: Json, tally: Tally) -> None:
    for case in file["accepted"]:
        method = METHODS[case["method"]]
        tally.same(method.protocol_id, case["protocol_id"], case["name"])
        ssz, framed = unhex(case["ssz"]), unhex(case["framed"])
        for reads in ways_to_cut(framed):
            tally.same(request_in(reads, method.request), ssz, case["name"])
        tally.same(request_in([framing.encode_payload(ssz)], method.request), ssz, f"{case['name']}, written here")
        decode_request(method.name, ssz)
    for case in file["bad_framing"]:
        method = METHODS[case["method"]]
        for reads in ways_to_cut(unhex(case["framed"])):
            outcome = request_in(reads, method.request)
            if isinstance(outcome, bytes):
                outcome = "valid" if request_decodes(method.name, outcome) else "Ssz"
            tally.same(outcome, case["expected"], case["name"])
    for case in file["bad_ranges"]:
        try:
            heights_of(decode_strictly(HeightRange, unhex(case["ssz"])))
            outcome = "valid"
        except IllegalRange as fault:
            outcome = fault.name
        tally.same(outcome, case["expected"], case["name"])


def request_decodes(method: str, ssz: bytes) -> bool:
    try:
        decode_request(method, ssz)
    except ValueError:
        return False
    return True


def check_responses(file: Json, tally: Tally) -> None:
    for case in file["good"] + file["bad"]:
        expected = [(chunk["result"], unhex(chunk["payload"])) for chunk in case["chunks"]]
        for reads in ways_to_cut(unhex(case["stream"])):
            chunks, end = response_in(reads, METHODS[case["method"]].item)
            got = [(chunk.result, chunk.payload) for chunk in chunks]
            tally.same((got, end), (expected, case["end"]), case["name"])


def check_framing(file: Json, tally: Tally) -> None:
    for case in file["vectors"]:
        bounds = Bounds(case["min"], case["max"])
        expected = expected_of(case)
        for reads in ways_to_cut(unhex(case["wire"])):
            if case["shape"] == "request":
                tally.same(request_in(reads, bounds), expected, case["name"])
            else:
                chunks, end = response_in(reads, bounds)
                got = ([(chunk.result, chunk.payload) for chunk in chunks], end)
                tally.same(got, expected, case["name"])


def expected_of(case: Json) -> object:
    if case["shape"] == "request":
        return case["error"] if "error" in case else unhex(case["payload"])
    chunks = [(chunk["result"], unhex(chunk["payload"])) for chunk in case["chunks"]]
    return chunks, case.get("error", "complete")


def check_archives(file: Json, tally: Tally) -> None:
    for case in file["good"]:
        data = unhex(case["archive"])
        chain = archive.read_archive(data)
        chain.verify()
        tally.same(chain.genesis_id, unhex(case["genesis_id"]), case["name"])
        tally.same(chain.head, case["last"], case["name"])
        tally.same(frames_of(data, len(chain.genesis.encode_bytes())), case_frames(case), case["name"])
        tally.same(archive.write_archive(chain), data, f"{case['name']}, written here")
    for case in file["bad"]:
        try:
            archive.read_archive(unhex(case["archive"]))
            outcome = "valid"
        except archive.ArchiveFault as fault:
            outcome = fault.name
        tally.same(outcome, case["expected"], case["name"])


def check_indexes(file: Json, tally: Tally) -> None:
    for case in file["good"]:
        index = read_index(unhex(case["index"]))
        said = (index.compression, index.first, index.last, index.genesis_id)
        tally.same(said, (case["compression"], case["first"], case["last"], unhex(case["genesis_id"])), case["name"])
        for got, record in zip(index.records, case["records"], strict=True):
            tally.same(got.decided_value, unhex(record["decided_value"]), case["name"])
            tally.same(got.sets, [unhex(ssz) for ssz in record["sets"]], case["name"])
            tally.same(got.parts, [tuple(part) for part in record["parts"]], case["name"])
    for case in file["bad"]:
        try:
            read_index(unhex(case["index"]))
            outcome = "valid"
        except archive.ArchiveFault as fault:
            outcome = fault.name
        tally.same(outcome, case["expected"], case["name"])


def frames_of(data: bytes, genesis_bytes: int) -> list[tuple[int, bytes]]:
    """Kind and content of each frame, but the lengths and checksums that the vectors leave out."""
    at, frames = archive.HEADER_BYTES + genesis_bytes + archive.CHECKSUM_BYTES, []
    kept = {archive.HEIGHT: 8, archive.HEIGHT_END: 0, archive.END: 40}
    while at < len(data):
        kind, length = data[at], archive.number(data[at + 1 : at + 5])
        content = data[at + 5 : at + 5 + length]
        frames.append((kind, content[: kept.get(kind, length)]))
        at += 5 + length
    return frames


def case_frames(case: Json) -> list[tuple[int, bytes]]:
    return [(frame["kind"], unhex(frame["content"])) for frame in case["frames"]]


def ways_to_cut(wire: bytes) -> Iterator[list[bytes]]:
    """All in one read, and byte by byte."""
    yield [wire]
    yield [wire[i : i + 1] for i in range(len(wire))]


def request_in(reads: list[bytes], bounds: Bounds) -> bytes | str:
    """The request in these reads, or the name of its fault."""

    async def read() -> bytes | str:
        try:
            return await framing.read_request(ReadsSource(reads), bounds)
        except WireFault as fault:
            return fault.name

    return trio.run(read)


def response_in(reads: list[bytes], bounds: Bounds) -> tuple[list[Chunk], str]:
    """The chunks in these reads, and how they end."""

    async def read() -> tuple[list[Chunk], str]:
        chunks: list[Chunk] = []
        try:
            async for chunk in framing.read_response(ReadsSource(reads), bounds):
                chunks.append(chunk)
        except WireFault as fault:
            return chunks, fault.name
        return chunks, "complete"

    return trio.run(read)


CHECKS: dict[str, Callable[[Json, Tally], None]] = {
    "vectors/containers.json": check_containers,
    "vectors/certificates.json": check_certificates,
    "vectors/proofs.json": check_proofs,
    "vectors/requests.json": check_requests,
    "vectors/responses.json": check_responses,
    "vectors/archives.json": check_archives,
    "vectors/indexes.json": check_indexes,
    "spec/vectors/framing.json": check_framing,
}
