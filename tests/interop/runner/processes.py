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


class Sessions:
    """The sessions of all programs that run. A program is started in one of its own, with whatever it starts itself."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._closed = False

    def start(self, command: Sequence[str], env: Mapping[str, str] | None, **streams: Any) -> "subprocess.Popen[bytes]":
        """Starts a program."""
        with self._lock:
            if self._closed:
                raise Failure("the run has been stopped")
            variables = {**os.environ, **(env or {})}
            started = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, env=variables, start_new_session=True, **streams
            )
            self._running.add(started.pid)
            return started

    def signal(self, session: int, number: signal.Signals) -> None:
        """Sends a signal to all of a session, if there is still somebody."""
        try:
            os.killpg(session, number)
        except ProcessLookupError:
            return

    def ended(self, session: int) -> None:
        """A program has ended. What it may have left behind ends with it."""
        self.signal(session, signal.SIGKILL)
        with self._lock:
            self._running.discard(session)

    def close(self) -> None:
        """Ends all programs. None is started any more."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for session in running:
            self.signal(session, signal.SIGKILL)


SESSIONS = Sessions()


class Process:
    """A program that writes a JSON object a line, to standard output or to standard error."""

    def __init__(self, command: Sequence[str], log: Path, stream: str, env: Mapping[str, str] | None = None) -> None:
        self.command = list(command)
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._log = log.open("ab")
        pipes = {"stdout": self._log, "stderr": self._log, stream: subprocess.PIPE}
        self._process = SESSIONS.start(self.command, env, **pipes)
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
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"not done after {seconds} s") from None
        finally:
            code = self.stop()
        return code

    def stop(self) -> int:
        """Asks it to end, and ends it if it does not. Gives the exit code."""
        session = self._process.pid
        if self._process.poll() is None:
            SESSIONS.signal(session, signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                SESSIONS.signal(session, signal.SIGKILL)
                self._process.wait(STOP_SECONDS)
        SESSIONS.ended(session)
        self._reader.join(STOP_SECONDS)
        return self._process.returncode

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def run(command: Sequence[str], seconds: float, env: Mapping[str, str] | None = None) -> None:
    """Runs a program to its end. It must succeed."""
    process = SESSIONS.start(command, env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(command[:3])}: not done after {seconds} s") from None
    finally:
        SESSIONS.ended(process.pid)
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip()[-500:]
        raise Failure(f"{' '.join(command[:3])}: exit code {process.returncode}: {said}")


def until(condition: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
    """Waits for something that can only be asked for."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what()}")
        time.sleep(POLL_SECONDS)
