"""KZG proofs with c-kzg and the setup of Ethereum's ceremony."""

import functools
import hashlib
import json
import tempfile
from pathlib import Path

import ckzg

from lapis_peer.containers import BYTES_PER_BLOB

SETUP_SHA256 = "f8e44a31ebf0a6d0734dcb301b0716e2c77f3ae18ed0cab0870fbcc2ca55616f"
SETUP_FILE = Path(__file__).resolve().parents[4] / "protocol-spec" / "data" / "trusted_setup_4096.json"
WITHOUT_PRECOMPUTATION = 0


@functools.cache
def setup(path: Path = SETUP_FILE) -> object:
    """The trusted setup. It is held against its hash before it is parsed.

    Raises:
        ValueError: the file is another one.
    """
    text = path.read_bytes()
    if hashlib.sha256(text).hexdigest() != SETUP_SHA256:
        raise ValueError(f"{path} is not the setup of Ethereum's ceremony")
    points = json.loads(text)
    lagrange, monomial, g2 = points["g1_lagrange"], points["g1_monomial"], points["g2_monomial"]
    lines = [str(len(lagrange)), str(len(g2))] + [point.removeprefix("0x") for point in lagrange + g2 + monomial]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        return ckzg.load_trusted_setup(file.name, WITHOUT_PRECOMPUTATION)


def proof_holds(blob: bytes, commitment: bytes, proof: bytes) -> bool:
    """Whether `proof` shows that `commitment` is one to `blob`. What is no blob or no point does not hold."""
    try:
        return bool(ckzg.verify_blob_kzg_proof(blob, commitment, proof, setup()))
    except RuntimeError:
        return False


def proofs_hold(blobs: list[bytes], commitments: list[bytes], proofs: list[bytes]) -> bool:
    """Whether all of them hold. A batch costs less than its blobs one by one."""
    try:
        joined = b"".join(blobs), b"".join(commitments), b"".join(proofs)
        return bool(ckzg.verify_blob_kzg_proof_batch(*joined, setup()))
    except RuntimeError:
        return False


def commit(blob: bytes) -> tuple[bytes, bytes]:
    """Commitment and proof of `blob`."""
    commitment = bytes(ckzg.blob_to_kzg_commitment(blob, setup()))
    return commitment, bytes(ckzg.compute_blob_kzg_proof(blob, commitment, setup()))


def blob_of_seed(seed: int) -> bytes:
    """A blob whose field element `i` is `seed * 2^32 + i`."""
    blob = b"".join(((seed << 32) + i).to_bytes(32, "big") for i in range(BYTES_PER_BLOB // 32))
    assert len(blob) == BYTES_PER_BLOB
    return blob
