"""The command line of the runner; `../run` calls it with the interpreter and the packages that it has installed."""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from runner import cases
from runner.cases import Case, Result
from runner.chains import devnet_chain, foreign_chain, served
from runner.expectations import FAULTS, KNOWN_DIFFERENCES
from runner.processes import SESSIONS, Failure
from runner.stacks import javascript_stack, python_stack

TWO_AT_A_TIME = 2


def parser() -> argparse.ArgumentParser:
    """What the runner takes."""
    top = argparse.ArgumentParser(prog="run", description="Runs the foreign peers against a lapis binary.")
    top.add_argument("binary", type=Path, help="the lapis binary to test")
    top.add_argument("--javascript", type=Path, required=True, help="folder with the JavaScript peer and its packages")
    top.add_argument("--only", default="", help="run only the cases whose name contains this")
    top.add_argument("--jobs", type=int, default=TWO_AT_A_TIME, help="cases at a time")
    top.add_argument("--keep", type=Path, help="an empty folder to leave logs and stores in")
    return top


def main() -> int:
    """Runs everything. The exit code is 0 if all cases held."""
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    scratch = arguments.keep or Path(tempfile.mkdtemp(prefix="lapis-interop-"))
    scratch.mkdir(parents=True, exist_ok=True)
    try:
        results = list(run_all(arguments, scratch))
    except Failure as failure:
        print(f"FAIL  {failure}", flush=True)
        return 1
    finally:
        SESSIONS.close()
        if not arguments.keep:
            shutil.rmtree(scratch, ignore_errors=True)
    failed = [result for result in results if not result.ok]
    print(f"\n{len(results)} cases, {len(failed)} failed, {time.monotonic() - started:.0f} s", flush=True)
    return 1 if failed or not results else 0


def run_all(arguments: argparse.Namespace, scratch: Path) -> Iterator[Result]:
    """Sets up chains and nodes, runs the cases, and prints each result."""
    binary = str(arguments.binary.resolve())
    stacks = [python_stack(Path(sys.executable)), javascript_stack(arguments.javascript)]
    devnet, devnet_home = devnet_chain(binary, scratch)
    foreign, foreign_home = foreign_chain(binary, stacks[0], scratch)
    with ExitStack() as running:
        whole = running.enter_context(served(binary, devnet_home, {}))
        pruned = running.enter_context(served(binary, foreign_home, {"LAPIS_ENGINE": "none"}))
        all_cases: list[Case] = []
        for stack in stacks:
            all_cases += [
                cases.vectors(stack),
                cases.client(stack, devnet, whole),
                cases.client(stack, foreign, pruned),
            ]
            all_cases += [cases.honest_server(binary, stack, chain) for chain in (devnet, foreign)]
        all_cases.append(cases.announcements(binary, stacks[1], devnet))
        for fault in FAULTS:
            all_cases += [cases.hostile_server(binary, stack, devnet, fault) for stack in stacks]
        chosen = [case for case in all_cases if arguments.only in case.name]
        yield from run_cases(chosen, arguments.jobs, scratch)


def run_cases(chosen: list[Case], jobs: int, scratch: Path) -> Iterator[Result]:
    """Runs cases, some at a time."""
    printing = threading.Lock()

    def run(number: int, case: Case) -> list[Result]:
        folder = scratch / f"case-{number}"
        folder.mkdir()
        results = [judged(result) for result in case.run(folder)]
        with printing:
            for result in results:
                show(result)
        return results

    with ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(run, number, case) for number, case in enumerate(chosen)]
        try:
            for done in as_completed(pending):
                yield from done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            SESSIONS.close()
            raise


def judged(result: Result) -> Result:
    """A difference that is known holds as long as it is there."""
    rule = KNOWN_DIFFERENCES.get(result.name)
    if rule is None:
        return result
    said = f"differs from {rule}, as is known: {result.detail}" if not result.ok else f"no longer differs from {rule}"
    return replace(result, ok=not result.ok, detail=said)


def show(result: Result) -> None:
    """One line per result."""
    mark = "ok  " if result.ok else "FAIL"
    print(f"{mark}  {result.name} ({result.seconds:.1f} s)  {result.detail}".rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
