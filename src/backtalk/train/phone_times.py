"""Which phone is heard when in the answers of a MiniTalk corpus.

A shard tells the times of words only. The answer voice times the same text the same way every time,
so asking it again tells those of the phones.
"""

from __future__ import annotations

import numpy as np

from backtalk.train.minitalk.answer_voice import AnswerVoice
from backtalk.train.minitalk.shard_file import Utterance
from backtalk.train.minitalk.spoken import PUNCTUATION, Sound, time_words

SILENCE = ""
UNIT_S = 0.025
"""What the voice counts durations in."""


class PhoneTimes(AnswerVoice):
    """The answer voice, asked when instead of how."""

    def sounds(self, text: str) -> list[Sound]:
        """Phones, spaces and marks of a sentence in order; the first begins after some silence."""
        phonemes = self._hibari.g2p(text)
        ids = np.asarray([self._hibari.ids(phonemes)], np.int64)
        *_, durations = self._network.run(None, {"ids": ids, "speed": np.ones(1, np.float32)})
        known = [symbol for symbol in phonemes if symbol in self._hibari.vocab]
        ends_s = np.cumsum(durations) * UNIT_S
        return [
            Sound(symbol, float(ends_s[n]), float(ends_s[n + 1])) for n, symbol in enumerate(known)
        ]

    def labels(self, answer: Utterance, frames: int, frame_rate: float) -> list[str] | None:
        """The phone in the middle of each frame, `SILENCE` where nothing is said.

        Returns:
            As many as there are frames; None if the answer's words have no times.
        """
        sounds = self.sounds(answer.text)
        words = time_words(answer.text, sounds)
        if not words or not answer.words:
            return None
        moved_s = answer.words[0].start_s - words[0].start_s
        starts_s = np.array([sound.start_s for sound in sounds]) + moved_s
        ends_s = np.array([sound.end_s for sound in sounds]) + moved_s
        middles_s = (np.arange(frames) + 0.5) / frame_rate
        found = []
        for at_s in middles_s:
            number = int(np.searchsorted(starts_s, at_s, "right")) - 1
            symbol = sounds[number].symbol if number >= 0 and at_s < ends_s[number] else " "
            found.append(SILENCE if symbol == " " or symbol in PUNCTUATION else symbol)
        return found
