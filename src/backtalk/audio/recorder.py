"""Records a conversation as it was heard: user left, agent right, on one time line."""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass, field

import numpy as np

from backtalk.audio.files import write_wav
from backtalk.audio.pcm import check_sample_rate, sanitise
from backtalk.audio.resample import resample
from backtalk.errors import AudioError

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """Pieces that follow each other without a gap; resampled as one, so joins do not click."""

    start_s: float
    sample_rate: int
    pieces: list[np.ndarray] = field(default_factory=list)
    samples: int = 0

    @property
    def end_s(self) -> float:
        return self.start_s + self.samples / self.sample_rate

    def append(self, pcm: np.ndarray) -> None:
        self.pieces.append(pcm)
        self.samples += pcm.size

    def cut(self, at_s: float) -> None:
        """Keep only what comes before session time `at_s`."""
        keep = round(max(0.0, at_s - self.start_s) * self.sample_rate)
        if keep < self.samples:
            self.pieces = [np.concatenate(self.pieces)[:keep].copy()]
            self.samples = keep


class ConversationRecorder:
    """Collects both sides of a conversation and writes them as a stereo file.

    Time zero of the recording is the first user audio; agent audio from before it is cut. (If the
    user is never heard, zero is the first agent audio.) Gaps are silence. Where pieces of one
    side overlap, the later call wins.

    Args:
        sample_rate: Hz of the recording.
        join_ms: a piece that begins this close to the end of the one before it on its side
            continues it without a seam, so that jitter in `at_s` is not heard.
        max_s: length at which recording stops, with one warning in the log.

    Attributes:
        dropped_s: seconds of sound of both sides that came after `max_s`.
    """

    def __init__(
        self, sample_rate: int = 24_000, *, join_ms: float = 5.0, max_s: float = 3600.0
    ) -> None:
        self.sample_rate = check_sample_rate(sample_rate)
        self.dropped_s = 0.0
        self._join_s = join_ms / 1000
        self._max_s = max_s
        self._user: list[_Run] = []
        self._agent: list[_Run] = []
        self._is_agent_cut = False

    def user(self, at_s: float, pcm: np.ndarray, sample_rate: int) -> None:
        """Add a piece of what the user said.

        Args:
            at_s: session time of its first sample, seconds.
            pcm: float32 [T] at `sample_rate`; copied.
            sample_rate: Hz.
        Raises:
            AudioError: a time that is not a number, or a rate that is not a sample rate.
        """
        self._add(self._user, at_s, pcm, sample_rate, starts_run=False)

    def agent(self, at_s: float, pcm: np.ndarray, sample_rate: int) -> None:
        """Add a piece of what the agent said, at the time at which it is heard; as `user`."""
        self._add(self._agent, at_s, pcm, sample_rate, starts_run=self._is_agent_cut)
        if pcm.size:
            self._is_agent_cut = False

    def truncate_agent(self, at_s: float) -> None:
        """The agent fell silent: forget its sound after session time `at_s` (barge-in).

        What is added later is kept, wherever it lies.
        """
        for run in self._agent:
            run.cut(at_s)
        self._agent = [run for run in self._agent if run.samples]
        self._is_agent_cut = True

    @property
    def began_s(self) -> float | None:
        """Session time of the recording's first sample; None while there is none."""
        runs = self._user or self._agent
        return runs[0].start_s if runs else None

    @property
    def user_channel(self) -> np.ndarray:
        """The user's side, float32 [T] at `sample_rate`; as long as `agent_channel`."""
        return self._render(self._user)

    @property
    def agent_channel(self) -> np.ndarray:
        """The agent's side, float32 [T] at `sample_rate`; as long as `user_channel`."""
        return self._render(self._agent)

    @property
    def duration_s(self) -> float:
        """Length of the recording so far in seconds."""
        return self._length() / self.sample_rate

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the recording as a 16-bit stereo WAV file; it can go on afterwards.

        Raises:
            AudioError: nothing was recorded, or the file cannot be written.
        """
        length = self._length()
        if length == 0:
            raise AudioError(f"{os.fspath(path)}: not written, nothing was recorded; speak first")
        stereo = np.zeros((length, 2), np.float32)
        for channel, runs in enumerate((self._user, self._agent)):
            self._render_into(stereo[:, channel], runs)
        write_wav(path, stereo, self.sample_rate)

    def _add(
        self, runs: list[_Run], at_s: float, pcm: np.ndarray, sample_rate: int, *, starts_run: bool
    ) -> None:
        check_sample_rate(sample_rate)
        if not math.isfinite(at_s):
            raise AudioError(f"audio cannot be recorded at time {at_s} s; give session time")
        samples, _ = sanitise(pcm)
        samples = self._within_limit(runs, at_s, samples, sample_rate)
        if samples.size == 0:
            return
        run = runs[-1] if runs and not starts_run else None
        if run is None or run.sample_rate != sample_rate or abs(at_s - run.end_s) > self._join_s:
            run = _Run(at_s, sample_rate)
            runs.append(run)
        run.append(samples)

    def _within_limit(
        self, runs: list[_Run], at_s: float, pcm: np.ndarray, sample_rate: int
    ) -> np.ndarray:
        began_s = self.began_s
        if began_s is None or (runs is self._user and not runs):
            began_s = at_s
        room = max(0, math.floor((began_s + self._max_s - at_s) * sample_rate))
        if pcm.size <= room:
            return pcm
        if self.dropped_s == 0.0:
            _log.warning("the recording is %g s long; what follows is not kept", self._max_s)
        self.dropped_s += (pcm.size - room) / sample_rate
        return pcm[:room]

    def _position(self, run: _Run) -> int:
        began_s = self.began_s
        assert began_s is not None
        return round((run.start_s - began_s) * self.sample_rate)

    def _length(self) -> int:
        ends = [
            self._position(run) + math.ceil(run.samples * self.sample_rate / run.sample_rate)
            for run in [*self._user, *self._agent]
        ]
        return min(max([0, *ends]), math.ceil(self._max_s * self.sample_rate))

    def _render(self, runs: list[_Run]) -> np.ndarray:
        channel = np.zeros(self._length(), np.float32)
        self._render_into(channel, runs)
        return channel

    def _render_into(self, channel: np.ndarray, runs: list[_Run]) -> None:
        for run in runs:
            sound = resample(np.concatenate(run.pieces), run.sample_rate, self.sample_rate)
            position = self._position(run)
            start, end = max(0, position), min(channel.size, position + sound.size)
            if start < end:
                channel[start:end] = sound[start - position : end - position]
