"""A WAV file to be written, checked before any work is done for it."""

from __future__ import annotations

from pathlib import Path

from backtalk.errors import ConfigError


def check_wav(out: Path) -> None:
    """Refuse a name that a WAV file cannot have.

    Raises:
        ConfigError: another kind of file, a folder, or in a folder that is not there.
    """
    if out.suffix.lower() != ".wav":
        raise ConfigError(f"{out}: only WAV is written; let the name end in .wav")
    if out.is_dir():
        raise ConfigError(f"{out}: is a folder; give a file name")
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.parent}; make it first")
