"""Fuzz every target for some minutes: `python -m soak --minutes 10 [--only NAME]` with `tests` on the path.

Each target runs in a process of its own, whose memory is limited and which a watchdog ends when one input takes too
long. A crash of that process is a finding as an exception is; the input that caused it lies in the folder of findings.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

SECONDS = 5.0
"""What one input may take."""

HARD_SECONDS = 60
"""After so long the process is ended, whatever compiled code it is in."""

MIB = 2048
"""Addresses that the process may take beyond those that it has once everything is imported."""


class TooSlow(BaseException):
    """An input took longer than :data:`SECONDS`."""


def fuzz(name: str, minutes: float, run: Path, findings: Path) -> None:
    """Fuzz one target in this process, and print a line of JSON.

    Args:
        name: the target.
        minutes: how long.
        run: a trained run.
        findings: the folder that gets what fails.
    """
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from soak.targets import targets

    warnings.simplefilter("ignore")
    target = targets(run)[name]
    work = Path(tempfile.mkdtemp(prefix="soak-"))
    os.chdir(work)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ends = time.monotonic() + 60 * minutes
    seen = {"examples": 0, "slowest": 0.0}
    found: dict[str, str] = {}
    last = findings / f"{name}.last"

    def watch(*_: Any) -> None:
        raise TooSlow(f"more than {SECONDS} s")

    signal.signal(signal.SIGALRM, watch)

    def once(given_input: Any) -> None:
        if time.monotonic() > ends:
            return
        seen["examples"] += 1
        last.write_bytes(pickle.dumps(given_input))
        folder = work / "case"
        folder.mkdir()
        began = time.monotonic()
        faulthandler.dump_traceback_later(HARD_SECONDS, exit=True)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            target.call(given_input, folder)
            left = sorted(each.name for each in folder.rglob("*"))
            assert len(left) <= 1, f"left behind: {left}"
            assert os.listdir(work) == ["case"], f"left behind in the working folder: {os.listdir(work)}"
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a panic of compiled code is no Exception
            remember(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            shutil.rmtree(folder)
        seen["slowest"] = max(seen["slowest"], time.monotonic() - began)

    def remember(error: BaseException) -> None:
        """Keep the smallest input of each place where something was raised."""
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
        path = findings / f"{name}-{hashlib.sha256(where.encode()).hexdigest()[:8]}.input"
        if where not in found or last.stat().st_size < path.stat().st_size:
            found[where] = f"{type(error).__name__}: {str(error)[:300]}"
            path.write_bytes(last.read_bytes())
            path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))

    # Findings are kept by hand, so that one of them does not end the search for others.
    quiet = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
    options = settings(max_examples=1000, phases=(Phase.generate,), **quiet)
    number = int.from_bytes(os.urandom(4), "big")
    while time.monotonic() < ends:
        number += 1
        seed(number)(options(given(target.inputs)(once)))()
    shutil.rmtree(work, ignore_errors=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) >> 10
    print(json.dumps({"name": name, **seen, "grown_mib": grown, "found": found}))


def main() -> int:
    """Fuzz the targets, one after the other, and print a table; the exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--only", help="the name of one target")
    parser.add_argument("--findings", type=Path, default=Path("build/soak"), help="folder that gets what fails")
    parser.add_argument("--in-this-process", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.in_this_process:
        name, run = asked.in_this_process
        fuzz(name, asked.minutes, Path(run), asked.findings)
        return 0
    from malformed.trained import train_small
    from soak.targets import targets

    asked.findings.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="soak-run-"))
    failed = False
    try:
        run = train_small(folder)
        names = [asked.only] if asked.only else list(targets(run))
        print("| target | minutes | examples | slowest, ms | memory, MiB | findings |\n|---|---|---|---|---|---|")
        for name in names:
            options = ["--minutes", str(asked.minutes), "--findings", str(asked.findings.absolute())]
            command = [sys.executable, "-m", "soak", *options, "--in-this-process", name, str(run)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode != 0:
                failed = True
                ended = f"the process ended with {done.returncode}: {asked.findings / name}.last"
                print(f"| {name} | | | | | {ended} |", flush=True)
                continue
            told = json.loads(done.stdout.splitlines()[-1])
            failed |= bool(told["found"])
            said = "; ".join(f"{where} ({text})" for where, text in told["found"].items()) or "none"
            figures = f"{told['examples']:,} | {1000 * told['slowest']:.0f} | {told['grown_mib']}"
            print(f"| {name} | {asked.minutes:g} | {figures} | {said} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
