"""The command line: `python -m lapis_peer --help`."""

import argparse
import logging
import sys
from pathlib import Path

import trio

from lapis_peer import chain_maker, report, vectors
from lapis_peer.archive import read_archive, write_archive
from lapis_peer.client import check_node
from lapis_peer.faults import FAULTS
from lapis_peer.server import serve


def parser() -> argparse.ArgumentParser:
    """What can be asked of this program."""
    top = argparse.ArgumentParser(prog="lapis_peer", description="A peer of the Lapis protocol, to test others with.")
    commands = top.add_subparsers(dest="command", required=True)

    check = commands.add_parser("vectors", help="check the test vectors")
    check.add_argument("spec", type=Path, help="the folder protocol-spec")

    client = commands.add_parser("client", help="ask a node for everything, and verify it")
    client.add_argument("--peer", required=True, help="multiaddr of the node, with its peer id")
    client.add_argument("--genesis", required=True, type=Path, help="genesis file of its chain")

    server = commands.add_parser("serve", help="serve the chain in an archive")
    server.add_argument("--archive", required=True, type=Path, help="an archive without compression, from height 1")
    server.add_argument("--dial", help="multiaddr of a node to connect to")
    server.add_argument("--fault", choices=FAULTS, help="what to do wrong")

    make = commands.add_parser("make-chain", help="make a short chain")
    make.add_argument("--archive", required=True, type=Path, help="archive to write")
    make.add_argument("--genesis", required=True, type=Path, help="genesis file to write")

    verify = commands.add_parser("verify", help="verify the chain in an archive")
    verify.add_argument("archive", type=Path)
    return top


def main() -> int:
    """Runs one command. The exit code is 0 if everything held."""
    logging.disable(logging.CRITICAL)  # what matters is in the reports
    arguments = parser().parse_args()
    match arguments.command:
        case "vectors":
            return check_vectors(arguments.spec)
        case "client":
            genesis = chain_maker.genesis_from_json(arguments.genesis.read_text())
            return 0 if trio.run(check_node, arguments.peer, genesis) else 1
        case "serve":
            trio.run(serve, arguments.archive, arguments.fault, arguments.dial)
        case "make-chain":
            chain = chain_maker.make_chain()
            arguments.archive.write_bytes(write_archive(chain))
            arguments.genesis.write_text(chain_maker.genesis_json(chain.genesis))
        case "verify":
            read_archive(arguments.archive.read_bytes()).verify()
    return 0


def check_vectors(spec: Path) -> int:
    """Reports each file of vectors."""
    try:
        for name, count in vectors.check_all(spec):
            report.say(case=name, ok=True, detail=f"{count} comparisons")
    except vectors.Differs as difference:
        report.say(case="vectors", ok=False, detail=str(difference))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
