"""A node under test: `lapis run` on a directory of its own, and what it says over HTTP."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from runner.processes import Failure, Process, run, until

START_SECONDS = 60
OFFLINE_SECONDS = 60
HTTP_SECONDS = 5
SETTINGS = {
    "LAPIS_LOG__FORMAT": "json",
    "LAPIS_LISTEN": "/ip4/127.0.0.1/tcp/0",
    "LAPIS_HTTP": "127.0.0.1:0",
}


class Node:
    """A running node."""

    def __init__(self, binary: str, directory: Path, settings: dict[str, str]) -> None:
        self.binary, self.directory = binary, directory
        command = [binary, "run", "--dir", str(directory)]
        self._process = Process(command, directory.with_suffix(".log"), "stderr", {**SETTINGS, **settings})
        try:
            started = self._process.wait_for(is_started, START_SECONDS, "the node's start")
            self._http = f"http://{started['http']}"
            until(lambda: bool(self.status()["addresses"]), START_SECONDS, lambda: "an address in /status")
            self.address = str(self.status()["addresses"][0])
        except BaseException:
            self._process.stop()
            raise

    def status(self) -> dict[str, Any]:
        """What `/status` says."""
        return dict(json.loads(self._get("/status")))

    def peers(self) -> dict[str, dict[str, Any]]:
        """What `/peers` says, by peer id."""
        return {peer["peer_id"]: peer for peer in json.loads(self._get("/peers"))}

    def offences(self) -> dict[str, int]:
        """How often which offence was charged."""
        head, found = 'lapis_p2p_offences_total{kind="', {}
        for line in self._get("/metrics").splitlines():
            if line.startswith(head):
                kind, count = line.removeprefix(head).split('"} ')
                found[kind] = int(count)
        return found

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(self._http + path, timeout=HTTP_SECONDS) as response:
            return str(response.read().decode())

    def stop(self) -> None:
        """Ends it in order. A node that does not exit with 0 has failed."""
        code = self._process.stop()
        if code != 0:
            raise Failure(f"the node ended with exit code {code}")

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def is_started(line: dict[str, Any]) -> bool:
    """Whether this line of the log says that all is up."""
    return line.get("message") == "node started"


def init(binary: str, directory: Path, genesis: Path) -> None:
    """Makes the directory of a new node."""
    run([binary, "init", "--dir", str(directory), "--genesis", str(genesis)], OFFLINE_SECONDS)


def take_over(binary: str, directory: Path, archive: Path) -> None:
    """Puts what is in an archive into a store."""
    run([binary, "import", "--dir", str(directory), str(archive)], OFFLINE_SECONDS)


def export(binary: str, directory: Path, head: int, archive: Path) -> None:
    """Writes all that a store holds into an archive."""
    heights = ["--range", f"1..{head}", "--compression", "none"]
    run([binary, "export", "--dir", str(directory), *heights, "--out", str(archive)], OFFLINE_SECONDS)
