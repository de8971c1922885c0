"""What a figure was measured on: the few facts that make it comparable."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("backtalk", "numpy", "onnxruntime", "ctranslate2", "xllamacpp", "hibari-tts", "torch")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, Python, load and the versions that matter, ready for JSON."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def rss_mib() -> float:
    """Memory this process holds now, MiB (0 where the system does not say)."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


class StolenTime:
    """How much processor time the host of a virtual machine kept for others, since it was made."""

    def __init__(self) -> None:
        self._began = _cpu_ticks()

    def share(self) -> float | None:
        """0 to 1 of all processor time; None where the system does not say."""
        if self._began is None or (now := _cpu_ticks()) is None:
            return None
        stolen, all = (there - here for here, there in zip(self._began, now, strict=True))
        return stolen / all if all else 0.0


def _cpu_ticks() -> tuple[int, int] | None:
    """Stolen, and all, since the system began."""
    try:
        with open("/proc/stat") as stat:
            ticks = [int(word) for word in stat.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    if sys.platform == "win32" or not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
