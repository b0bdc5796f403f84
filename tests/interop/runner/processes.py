"""Programs that are started here, and that all end when the run does."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

STOP_SECONDS = 10
POLL_SECONDS = 0.05

Line = dict[str, Any]


class Failure(Exception):
    """Something is not as a case says it must be."""


class Process:
    """A program that writes a JSON object a line, to standard output or to standard error."""

    def __init__(self, command: Sequence[str], log: Path, stream: str, env: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._log = log.open("ab")
        pipes = {"stdout": self._log, "stderr": self._log, stream: subprocess.PIPE}
        # A session of its own: whatever it starts is stopped with it.
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})}, start_new_session=True, **pipes
        )
        source = self._process.stdout if stream == "stdout" else self._process.stderr
        self._reader = threading.Thread(target=self._read, args=(source,), daemon=True)
        self._reader.start()

    def _read(self, source: IO[bytes]) -> None:
        for text in source:
            self._log.write(text)
            try:
                line = json.loads(text)
            except ValueError:
                continue
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, wanted: Callable[[Line], bool], seconds: float, what: str) -> Line:
        """The first line that is `wanted`, among those that were and those that come."""
        deadline, seen = time.monotonic() + seconds, 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if wanted(line):
                        return line
                seen = len(self.lines)
                if self._process.poll() is not None and not self._reader.is_alive():
                    raise Failure(f"{self.command[0]} ended with {self._process.returncode} before {what}")
                if time.monotonic() > deadline:
                    raise Failure(f"no {what} within {seconds} s")
                self._news.wait(POLL_SECONDS)

    def finish(self, seconds: float) -> int:
        """Waits for the end and gives the exit code."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise Failure(f"not done after {seconds} s") from None
        self._reader.join(STOP_SECONDS)
        return code

    def stop(self) -> int:
        """Asks it to end, and ends it if it does not. Gives the exit code."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait(STOP_SECONDS)
        self._reader.join(STOP_SECONDS)
        return self._process.returncode

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run(command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end. It must succeed."""
    done = subprocess.run(
        list(command), env={**os.environ, **(env or {})}, timeout=seconds, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failure(f"{' '.join(command[:3])}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")


def until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Waits for something that can only be asked for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what()}")
        time.sleep(POLL_SECONDS)
