"""A unit vocoder for one stream at a time: numpy in and out, any chunk size."""

from __future__ import annotations

import numpy as np
import torch

from backtalk.codecs.unit_vocoder.unit_vocoder_model import NOTHING, UnitVocoderModel
from backtalk.errors import AudioError

_LONGEST_STEP_UNITS = 100


class UnitVocoder:
    """A loaded vocoder, shared by any number of streams.

    Args:
        model: its weights.
    """

    def __init__(self, model: UnitVocoderModel) -> None:
        config = model.config
        self.model = model
        self.sample_rate = config.sample_rate
        self.hop_samples = config.hop_samples
        self.unit_rate = config.unit_rate
        self.cardinality = config.units

    def decode(self, units: np.ndarray, *, has_runs: bool = True) -> np.ndarray:
        """The sound of a whole recording, the same as a stream of it would give.

        Args:
            units: integers [T].
            has_runs: False if repetitions were dropped, and how long a unit lasts is to be guessed.
        Returns:
            float32 [T'] at `sample_rate`, `hop_samples` per unit.
        Raises:
            AudioError: units of another shape, or out of range.
        """
        stream = self.open_stream(has_runs=has_runs)
        return np.concatenate([stream.push(units), stream.flush()])

    def open_stream(self, *, has_runs: bool = True) -> SoundStream | RunsStream:
        """A new stream; see `decode`."""
        return SoundStream(self) if has_runs else RunsStream(self)

    def check_units(self, units: np.ndarray) -> np.ndarray:
        """Refuse what has no sound.

        Returns:
            int64 [T].
        Raises:
            AudioError: not [T] of integers, or a unit out of range.
        """
        units = np.asarray(units)
        if units.ndim != 1 or not (units.size == 0 or np.issubdtype(units.dtype, np.integer)):
            raise AudioError(f"units of shape {units.shape}, {units.dtype}: give integers [T]")
        if units.size and not (units.min() >= 0 and units.max() < self.cardinality):
            raise AudioError(
                f"units from {units.min()} to {units.max()} have no sound; each must be 0 to "
                f"{self.cardinality - 1}"
            )
        return units.astype(np.int64)


class SoundStream:
    """One stream of units to waveform; the last `reach` units wait for what follows them."""

    def __init__(self, vocoder: UnitVocoder) -> None:
        self._vocoder = vocoder
        self._context = _Context(vocoder.model.config.reach)

    def push(self, units: np.ndarray) -> np.ndarray:
        """Take integers [T], return what is ready of their sound: float32 [T'].

        Raises:
            AudioError: units of another shape, or out of range.
        """
        return self._sound(self._vocoder.check_units(units))

    def flush(self) -> np.ndarray:
        """End the stream: the sound of the units that waited."""
        return self._sound(self._context.end)

    @torch.inference_mode()
    def _sound(self, units: np.ndarray) -> np.ndarray:
        model = self._vocoder.model
        pieces = [np.zeros(0, np.float32)]
        for at in range(0, len(units), _LONGEST_STEP_UNITS):
            window = self._context.take(units[at : at + _LONGEST_STEP_UNITS])
            if window is not None:
                x = torch.from_numpy(window)[None].to(model.embedding.weight.device)
                pieces.append(model.sound_of_middle(x)[0].cpu().numpy())
        return np.concatenate(pieces)


class RunsStream:
    """One stream of units without repetitions to waveform.

    A unit that is pushed again right after itself is taken for the same one.
    """

    def __init__(self, vocoder: UnitVocoder) -> None:
        self._vocoder = vocoder
        self._sounds = SoundStream(vocoder)
        self._context = _Context(vocoder.model.durations.reach)
        self._newest = NOTHING

    def push(self, units: np.ndarray) -> np.ndarray:
        """Take integers [T], return what is ready of their sound: float32 [T'].

        Raises:
            AudioError: units of another shape, or out of range.
        """
        units = self._vocoder.check_units(units)
        runs = units[np.diff(units, prepend=self._newest) != 0]
        if runs.size:
            self._newest = int(runs[-1])
        return self._sounds.push(self._repeated(runs))

    def flush(self) -> np.ndarray:
        """End the stream: the sound of the units that waited."""
        last = self._sounds.push(self._repeated(self._context.end))
        return np.concatenate([last, self._sounds.flush()])

    @torch.inference_mode()
    def _repeated(self, runs: np.ndarray) -> np.ndarray:
        """The runs that are ready, as often as they last."""
        model = self._vocoder.model
        window = self._context.take(runs)
        if window is None:
            return np.zeros(0, np.int64)
        x = torch.from_numpy(window)[None].to(model.embedding.weight.device)
        lengths = model.lengths_of_middle(x)[0].cpu().numpy()
        reach = model.durations.reach
        return np.repeat(window[reach:-reach], lengths)


class _Context:
    """The units around those that are ready.

    Args:
        reach: units on either side that must be known.
    """

    def __init__(self, reach: int) -> None:
        self._reach = reach
        self._held = self.end = np.full(reach, NOTHING)

    def take(self, units: np.ndarray) -> np.ndarray | None:
        """The units that are now ready and `reach` more on either side; None if none is."""
        held = np.concatenate([self._held, units])
        first = max(0, len(held) - 2 * self._reach)
        self._held = held[first:]
        return held if first else None
