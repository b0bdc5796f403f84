"""The two chains that everything is tried on, and a node that serves each."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner import node
from runner.node import Node
from runner.processes import run
from runner.stacks import Stack

DEVNET_HEIGHTS = 10
DEVNET_BLOBS = 3
DEVNET_SECONDS = 120
MAKE_SECONDS = 120


@dataclass(frozen=True)
class Chain:
    """A chain as files, and what a node needs to follow it."""

    name: str
    genesis: Path
    archive: Path
    head: int
    settings: dict[str, str]


def devnet_chain(binary: str, scratch: Path) -> tuple[Chain, Path]:
    """A chain of Lapis' own, of real execution blocks, and a directory that holds it."""
    home, archive = scratch / "devnet", scratch / "devnet.archive"
    size = ["--heights", str(DEVNET_HEIGHTS), "--blobs", str(DEVNET_BLOBS), "--block-time", "50ms"]
    run([binary, "devnet", "--dir", str(home), *size], DEVNET_SECONDS)
    nodes = {one["name"]: Path(one["dir"]) for one in json.loads((home / "devnet.json").read_text())["nodes"]}
    node.export(binary, nodes["follower"], DEVNET_HEIGHTS, archive)
    return Chain("devnet chain", home / "genesis.json", archive, DEVNET_HEIGHTS, {}), nodes["follower"]


def foreign_chain(binary: str, maker: Stack, scratch: Path) -> tuple[Chain, Path]:
    """A chain that a foreign peer made, and a directory into which a node took it over."""
    archive, genesis, home = scratch / "foreign.archive", scratch / "foreign.json", scratch / "foreign"
    run(maker.command("make-chain", "--archive", str(archive), "--genesis", str(genesis)), MAKE_SECONDS, maker.env)
    node.init(binary, home, genesis)
    node.take_over(binary, home, archive)
    head = int.from_bytes(archive.read_bytes()[20:28], "little")
    # Its payloads are no blocks, and what a follower prunes could not be compared.
    settings = {"LAPIS_ENGINE": "none", "LAPIS_RETENTION__BLOB_HEIGHTS": "all"}
    return Chain("foreign chain", genesis, archive, head, settings), home


@contextmanager
def served(binary: str, home: Path, settings: dict[str, str]) -> Iterator[Node]:
    """A node that serves what is in `home`."""
    with Node(binary, home, settings) as serving:
        yield serving


def empty_home(binary: str, chain: Chain, directory: Path) -> Path:
    """A directory for a node that has to fetch everything."""
    shutil.rmtree(directory, ignore_errors=True)
    node.init(binary, directory, chain.genesis)
    return directory
