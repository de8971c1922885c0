"""Backtalk: real-time voice-to-voice systems behind one session interface."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Audio": "backtalk.audio.files",
    "Agent": "backtalk.systems",
    "BacktalkError": "backtalk.errors",
    "Converter": "backtalk.session.converter",
    "Duplex": "backtalk.session.duplex",
    "ModelStore": "backtalk.models.store",
    "Responder": "backtalk.session.responder",
    "Session": "backtalk.session.session",
    "TurnLatency": "backtalk.latency.record",
    "TurnSettings": "backtalk.session.settings",
    "build_agent": "backtalk.systems",
    "read_audio": "backtalk.audio.files",
    "write_wav": "backtalk.audio.files",
}

__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    # Lazy, so that `import backtalk` costs a few milliseconds and pulls in no model library.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'backtalk' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
