"""What the benchmarks say of the machine and of their own process: date, versions, peak memory."""

from __future__ import annotations

import datetime
import importlib
import importlib.metadata
import os
import platform
import resource
from collections.abc import Sequence
from pathlib import Path

import torch


def described(packages: Sequence[str]) -> str:
    """Date, processor, cores, load, memory, and the versions of those packages that are installed."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return (
        f"{datetime.date.today()}; {platform.machine()}, {os.cpu_count()} cores ({torch.get_num_threads()} torch "
        f"threads, load {os.getloadavg()[0]:.1f} at the start), {memory:.0f} GiB; Python "
        f"{platform.python_version()}, {', '.join(versions)}."
    )


def importable(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def own_peak() -> float:
    """Peak resident MiB of this process."""
    # Linux hands ru_maxrss on to a child, whose peak would then be its parent's; VmHWM begins anew.
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    # macOS counts in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
