"""Audio files in and out: anything libsndfile decodes in, 16-bit WAV out, one clear line if not."""

from __future__ import annotations

import errno
import logging
import math
import os
import secrets
import stat
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.audio.pcm import (
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    check_sample_rate,
    pcm_to_int16_bytes,
    sanitise,
    to_mono,
)
from backtalk.audio.resample import StreamingResampler
from backtalk.errors import AudioError

MAX_CHANNELS = 32
"""More channels than any recorder makes: the header is damaged."""

_log = logging.getLogger(__name__)

_BLOCK_VALUES = 1 << 15
_UNKNOWN_FRAMES = 1 << 62  # libsndfile's answer for a stream whose header gives no length
_NOT_AUDIO_CODES = (1, 7)  # "format not recognised"; also what garbage that looks like MP3 gets
_MAX_WAV_BYTES = 2**32 - 64
_WRITE_BLOCK_FRAMES = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A recording in memory.

    Attributes:
        pcm: float32 [T], -1..1, mono.
        sample_rate: Hz.
        bad_samples: NaN or infinite samples of the file, now silence.
    """

    pcm: np.ndarray = field(repr=False)
    sample_rate: int
    bad_samples: int = 0

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.pcm.size / self.sample_rate


def read_audio(
    path: str | os.PathLike[str], sample_rate: int | None = None, max_seconds: float = 600.0
) -> Audio:
    """Read a recording: WAV, FLAC, Ogg, MP3, AIFF and whatever else libsndfile knows.

    What the file holds decides, not what it is called. Channels are averaged. A WAV file that ends
    before its header says is read as far as it goes. Reading is done in blocks, so memory is what
    the result takes.

    Args:
        path: the file.
        sample_rate: Hz to resample to; by default the file's own rate.
        max_seconds: longest recording accepted. Checked against the header before anything is
            read, and again while reading.
    Raises:
        AudioError: missing, not a file, not audio, damaged, empty, too long or of a rate or
            channel count no audio has; the message names the file and says what to do.
    """
    name = os.fspath(path)
    if sample_rate is not None:
        check_sample_rate(sample_rate)
    _refuse_what_is_no_file(name)
    try:
        with open(name, "rb") as file:
            return _read_open_file(name, file.fileno(), sample_rate, max_seconds)
    except OSError as error:
        raise AudioError(f"{name}: cannot be read ({_reason(error)}); check the file") from error


def write_wav(path: str | os.PathLike[str], pcm: np.ndarray, sample_rate: int) -> None:
    """Write a 16-bit WAV file. It appears whole or not at all; an older file is replaced.

    Args:
        path: where; the directory must exist.
        pcm: float32 [T] or [T, channels], -1..1; what is louder is clipped.
        sample_rate: Hz.
    Raises:
        AudioError: the directory is missing or not writable, the disk is full, or the audio
            does not fit a WAV file.
    """
    check_sample_rate(sample_rate)
    name = os.fspath(path)
    channels = 1 if pcm.ndim == 1 else pcm.shape[-1] if pcm.ndim == 2 else 0
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"{name}: audio of shape {pcm.shape} cannot be written; give [T] or [T, channels]"
        )
    if 2 * pcm.size > _MAX_WAV_BYTES:
        raise AudioError(f"{name}: {2 * pcm.size} bytes do not fit a WAV file; write it in parts")
    target = Path(os.path.realpath(name))
    if not target.parent.is_dir():
        raise AudioError(f"{name}: there is no directory {target.parent}; create it first")
    if target.exists() and not target.is_file():
        raise AudioError(f"{name}: is not a file, so it cannot be replaced; give a file name")
    unfinished = target.parent / f".backtalk-{secrets.token_hex(8)}.tmp"
    try:
        try:
            _write_blocks(unfinished, pcm, channels, sample_rate)
            os.replace(unfinished, target)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise AudioError(
            f"{name}: cannot be written ({_reason(error)}); {_write_advice(error)}"
        ) from error


def _refuse_what_is_no_file(name: str) -> None:
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError as error:
        raise AudioError(f"{name}: there is no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise AudioError(f"{name!r}: cannot be read ({_reason(error)}); check the path") from error
    if stat.S_ISDIR(mode):
        raise AudioError(f"{name}: is a directory; give an audio file in it")
    if not stat.S_ISREG(mode):
        raise AudioError(f"{name}: is not a regular file; save the audio to a file first")
    if os.path.getsize(name) == 0:
        raise AudioError(f"{name}: is empty (0 bytes); record or copy it again")


def _read_open_file(
    name: str, descriptor: int, sample_rate: int | None, max_seconds: float
) -> Audio:
    import soundfile

    class ForwardFile(soundfile.SoundFile):  # type: ignore[misc, unused-ignore]
        """Reads straight on: soundfile seeks after each block, which upsets MP3 and cut FLAC."""

        def seekable(self) -> bool:
            return False

    try:
        sound = ForwardFile(descriptor, closefd=False)
    except soundfile.SoundFileError as error:
        raise AudioError(_undecodable(name, error)) from error
    with sound:
        rate, channels, claimed_frames = sound.samplerate, sound.channels, sound.frames
        if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
            raise AudioError(
                f"{name}: its sample rate is {rate} Hz, outside {MIN_SAMPLE_RATE} to "
                f"{MAX_SAMPLE_RATE}; resample it with another tool first"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(
                f"{name}: has {channels} channels, more than {MAX_CHANNELS}; mix it down first"
            )
        is_length_known = 0 <= claimed_frames < _UNKNOWN_FRAMES
        if is_length_known and claimed_frames > max_seconds * rate:
            raise AudioError(_too_long(name, f"{claimed_frames / rate:.2f} s", max_seconds))

        pieces: list[np.ndarray] = []
        frames = bad_samples = 0
        resampler = StreamingResampler(rate, sample_rate or rate)
        try:
            for block in _blocks(sound, max(1, _BLOCK_VALUES // channels)):
                frames += len(block)
                if frames > max_seconds * rate:
                    length = f"at least {frames / rate:.2f} s"
                    raise AudioError(_too_long(name, length, max_seconds))
                clean, bad = sanitise(block)
                bad_samples += bad
                pieces.append(resampler.push(to_mono(clean)))
        except soundfile.SoundFileError as error:
            if frames == 0:
                raise AudioError(_undecodable(name, error)) from error
            raise AudioError(
                f"{name}: is damaged or cut short {frames / rate:.1f} s after its start "
                f"({_reason(error)}); copy or record it again"
            ) from error
    if frames == 0:
        raise AudioError(
            f"{name}: is cut short or holds no sound (0 samples); record or copy it again"
        )
    if is_length_known and frames < claimed_frames:
        _log.warning(
            "%s: cut short, %.1f of %.1f s are there", name, frames / rate, claimed_frames / rate
        )
    if bad_samples:
        _log.warning("%s: %d samples were not numbers, now silence", name, bad_samples)
    pcm = np.concatenate([*pieces, resampler.flush()])
    if pcm.size == 0:
        raise AudioError(f"{name}: too short to resample ({frames} samples); record more")
    return Audio(pcm, sample_rate or rate, bad_samples)


def _blocks(sound: Any, block_frames: int) -> Iterator[np.ndarray]:
    """float32 [frames, channels] until the decoder has no more."""
    while True:
        block = sound.read(block_frames, dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        yield block


def _write_blocks(path: Path, pcm: np.ndarray, channels: int, sample_rate: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        with wave.open(file, "wb") as wav:
            wav.setnchannels(channels)
            wav.setsampwidth(2)
            wav.setframerate(sample_rate)
            wav.setnframes(len(pcm))
            for at in range(0, len(pcm), _WRITE_BLOCK_FRAMES):
                wav.writeframesraw(pcm_to_int16_bytes(pcm[at : at + _WRITE_BLOCK_FRAMES]))
        file.flush()
        os.fsync(file.fileno())


def _undecodable(name: str, error: Exception) -> str:
    if getattr(error, "code", None) in _NOT_AUDIO_CODES:
        return f"{name}: is not an audio file of a known kind; give WAV, FLAC, Ogg or MP3"
    return (
        f"{name}: is damaged, cut short or of an unknown encoding ({_reason(error)}); "
        "copy it again or convert it to 16-bit WAV"
    )


def _too_long(name: str, length: str, max_seconds: float) -> str:
    allowed = "any length" if math.isinf(max_seconds) else f"{max_seconds:g} s"
    return f"{name}: lasts {length}, more than the {allowed} allowed; cut it or raise max_seconds"


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".")


def _write_advice(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space or write elsewhere"
    return "choose a directory you may write to"
