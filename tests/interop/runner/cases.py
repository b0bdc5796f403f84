"""The cases: what is tried, and what has to come of it."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner import node
from runner.chains import Chain, empty_home
from runner.expectations import FAULTS, HONEST, Expectation, Penalty
from runner.node import Node
from runner.processes import Failure, Process, until
from runner.stacks import Stack

SPEC = Path(__file__).resolve().parents[3] / "protocol-spec"
PEER_SECONDS = 120
LISTEN_SECONDS = 60
SYNC_SECONDS = 90
FAULT_SECONDS = 60
GREETINGS = {"status", "ping", "goodbye"}


@dataclass(frozen=True)
class Result:
    """How a case went."""

    name: str
    ok: bool
    seconds: float
    detail: str


@dataclass(frozen=True)
class Case:
    """Something to try. It may have several results."""

    name: str
    run: Callable[[Path], Iterator[Result]]


def vectors(stack: Stack) -> Case:
    """The vectors, checked by a foreign implementation."""
    return reported(f"{stack.name} vectors", stack, ["vectors", str(SPEC)])


def client(stack: Stack, chain: Chain, serving: Node) -> Case:
    """A foreign client asks a node for everything."""
    arguments = ["client", "--peer", serving.address, "--genesis", str(chain.genesis)]
    return reported(f"{stack.name} client, {chain.name}", stack, arguments)


def reported(name: str, stack: Stack, arguments: list[str]) -> Case:
    """A peer's own cases, each of which it reports in a line."""

    def run(scratch: Path) -> Iterator[Result]:
        started = time.monotonic()
        with Process(stack.command(*arguments), scratch / "peer.log", "stdout", stack.env) as peer:
            code = peer.finish(PEER_SECONDS)
        results = [line for line in peer.lines if "case" in line]
        for line in results:
            yield Result(f"{name}: {line['case']}", line["ok"], line.get("seconds", 0.0), line["detail"])
        if not results or (code != 0 and all(line["ok"] for line in results)):
            yield Result(name, False, time.monotonic() - started, f"exit code {code}")

    return Case(name, run)


def honest_server(binary: str, stack: Stack, chain: Chain) -> Case:
    """A node gets a whole chain from a foreign server and from nobody else."""

    def attempt(scratch: Path) -> str:
        home = empty_home(binary, chain, scratch / "node")
        with ExitStack() as running:
            server, address = running.enter_context(serving(stack, chain, scratch))
            follower = running.enter_context(Node(binary, home, {**chain.settings, "LAPIS_PEER": address}))
            until(lambda: caught_up(follower, chain), SYNC_SECONDS, lambda: str(follower.status()))
            held_to(HONEST, follower, peer_id(address))
            blobs = follower.status()["sync"]["verified_blobs"]
            follower.stop()
        same_store(binary, home, chain, scratch)
        return f"{chain.head} heights, {blobs} proofs, {requests(server)} requests"

    return single(f"{stack.name} server, {chain.name}", attempt)


def announcements(binary: str, stack: Stack, chain: Chain) -> Case:
    """A node with an empty store hears of decided values, and of what is none, from peers that serve nothing."""
    name = f"{stack.name} announcements"

    def run(scratch: Path) -> Iterator[Result]:
        started = time.monotonic()
        home = empty_home(binary, chain, scratch / "node")
        with Node(binary, home, chain.settings) as hearing:
            arguments = ["announce", "--peer", hearing.address, "--archive", str(chain.archive)]
            yield from reported(name, stack, arguments).run(scratch)
            charged = hearing.offences().get("invalid_announcement", 0)
            seconds = time.monotonic() - started
            yield Result(f"{name}: who announces such is charged", charged == 2, seconds, f"{charged} times")

    return Case(name, run)


def hostile_server(binary: str, stack: Stack, chain: Chain, fault: str) -> Case:
    """A node meets a server with a fault first, and an honest one later. It must end with the chain, unchanged."""
    expectation = FAULTS[fault]

    def attempt(scratch: Path) -> str:
        home = empty_home(binary, chain, scratch / "node")
        with ExitStack() as running:
            hostile, address = running.enter_context(serving(stack, chain, scratch, "--fault", fault))
            settings = {**chain.settings, **dict(expectation.settings), "LAPIS_PEER": address}
            follower = running.enter_context(Node(binary, home, settings))
            hostile.wait_for(is_spoiled, FAULT_SECONDS, f"request that shows {fault}")
            until(lambda: is_charged(expectation, follower), FAULT_SECONDS, lambda: str(follower.offences()))
            other, honest = running.enter_context(serving(stack, chain, scratch, "--dial", follower.address))
            other.wait_for(lambda line: "greeted" in line, LISTEN_SECONDS, "greeting of the honest peer")
            until(lambda: caught_up(follower, chain), SYNC_SECONDS, lambda: str(follower.status()))
            said = held_to(expectation, follower, peer_id(address))
            held_to(HONEST, follower, peer_id(honest))
            left_alone(hostile, expectation)
            follower.stop()
        same_store(binary, home, chain, scratch)
        return said

    return single(f"{stack.name} server, {fault}", attempt)


def single(name: str, attempt: Callable[[Path], str]) -> Case:
    """A case with one result."""

    def run(scratch: Path) -> Iterator[Result]:
        started = time.monotonic()
        try:
            ok, detail = True, attempt(scratch)
        except (Failure, OSError) as failure:
            ok, detail = False, str(failure)
        yield Result(name, ok, time.monotonic() - started, detail)

    return Case(name, run)


@contextmanager
def serving(stack: Stack, chain: Chain, scratch: Path, *arguments: str) -> Iterator[tuple[Process, str]]:
    """A foreign server and its address."""
    command = stack.command("serve", "--archive", str(chain.archive), *arguments)
    with Process(command, scratch / "peer.log", "stdout", stack.env) as server:
        line = server.wait_for(lambda line: "listening" in line, LISTEN_SECONDS, "the server's address")
        yield server, line["listening"]


def peer_id(address: str) -> str:
    """The id at the end of an address."""
    return address.rsplit("/", 1)[1]


def is_spoiled(line: dict[str, object]) -> bool:
    """Whether a server reports a request that it answers with its fault."""
    return line.get("spoiled") is True


def requests(server: Process) -> int:
    """How many requests a server has had."""
    return sum("request" in line for line in server.lines)


def caught_up(follower: Node, chain: Chain) -> bool:
    """Whether a node has taken all heights, and imported them."""
    return bool(follower.status()["imported_height"] == chain.head)


def is_charged(expectation: Expectation, follower: Node) -> bool:
    """Whether the offence that is due has been charged."""
    return expectation.offence is None or expectation.offence in follower.offences()


def held_to(expectation: Expectation, follower: Node, peer: str) -> str:
    """Compares what a node says about a peer with what it should. Gives what it says."""
    view = follower.peers().get(peer, {"score": 0.0, "last_fault": None, "banned_for_seconds": None})
    said = f"fault {view['last_fault']}, score {view['score']:.0f}, banned for {view['banned_for_seconds']} s"
    match expectation.penalty:
        case Penalty.NONE:
            # Being slow is no fault, and this machine may be.
            right = view["last_fault"] in (None, "timeout")
        case Penalty.CHARGE:
            right = view["score"] < 0 and view["last_fault"] == expectation.offence
        case Penalty.BAN:
            right = view["last_fault"] == expectation.offence and view["banned_for_seconds"] is not None
    if not right:
        raise Failure(f"{said}; offences {follower.offences()}")
    return said


def left_alone(server: Process, expectation: Expectation) -> None:
    """A server that is no peer must not be asked for data."""
    asked = {str(line["request"]) for line in server.lines if "request" in line} - GREETINGS
    if expectation.shunned and asked:
        raise Failure(f"asked for {asked}")


def same_store(binary: str, home: Path, chain: Chain, scratch: Path) -> None:
    """What a node has stored must be the chain, byte by byte."""
    archive = scratch / "stored.archive"
    node.export(binary, home, chain.head, archive)
    if archive.read_bytes() != chain.archive.read_bytes():
        raise Failure(f"{archive} differs from {chain.archive}")
