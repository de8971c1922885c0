"""A reply's sound in another voice, every word still at the sample where it was."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from backtalk.session.converter_stream import ConverterStream
from backtalk.session.responder import Sound

SLICE_MS = 40


class ConvertedSound:
    """Converts one sound, piece by piece.

    A piece comes out later than it went in, but not at another place: what is cut are the pieces,
    so that words again begin where a piece begins, and what was heard is known to the word.

    Args:
        stream: fresh.
    """

    def __init__(self, stream: ConverterStream) -> None:
        self._stream = stream
        self._samples_in = self._samples_out = 0
        self._words: deque[tuple[int, str]] = deque()

    def push(self, sound: Sound) -> list[Sound]:
        """Take the next piece and return those that are ready; see `ConverterStream.push`."""
        if sound.text and sound.pcm.size:
            at = self._samples_in * self._stream.rate_out // self._stream.rate_in
            self._words.append((at, sound.text))
        self._samples_in += sound.pcm.size
        return self._cut(self._stream.push(sound.pcm))

    def flush(self) -> list[Sound]:
        """End the sound and return the rest."""
        return self._cut(self._stream.flush())

    def _cut(self, pcm: np.ndarray) -> list[Sound]:
        if not pcm.size:
            return []
        begin, end = self._samples_out, self._samples_out + pcm.size
        self._samples_out = end
        texts = {begin: ""}
        while self._words and self._words[0][0] < end:
            at, text = self._words.popleft()
            texts[at] = f"{texts[at]} {text}" if texts.get(at) else text
        ends = [*list(texts)[1:], end]
        return [
            Sound(pcm[at - begin : until - begin], text)
            for (at, text), until in zip(texts.items(), ends, strict=True)
        ]


def in_slices(sound: Sound, sample_rate: int) -> Iterator[Sound]:
    """A long piece as short ones.

    The first of them is heard before the last is converted, and other replies get their turn in
    between.
    """
    samples = SLICE_MS * sample_rate // 1000
    for at in range(0, len(sound.pcm), samples):
        yield Sound(sound.pcm[at : at + samples], sound.text if at == 0 else "")
