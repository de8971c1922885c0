"""VAD probabilities in, "speaking since / silent since" out, in samples of the user's audio."""

from __future__ import annotations

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.session.detectors import VoiceActivityDetector
from backtalk.session.settings import TurnSettings

VAD_TAIL_MS = 170.0
"""Longest time that Silero VAD was seen to hear speech in silence after a word, and a frame."""


class SpeechTracker:
    """Where in the user's audio there is speech. One per session.

    Attributes:
        onset_sample: first sample of the present stretch of speech, or of the last one.
        last_speech_sample: one past the last sample of speech heard so far.
        is_quiet: True if the last frame was so much softer than the loudest of this stretch that
            speech may be over, whatever the VAD says.
        is_speaking: True from the moment a stretch has lasted `speech_start_ms` until its first
            frame of silence.
        speech_ms: how much of the time since `restart_count` was speech.
    """

    def __init__(self, vad: VoiceActivityDetector, settings: TurnSettings) -> None:
        self._vad = vad
        self._state = vad.new_state()
        self._settings = settings
        self._rate = vad.sample_rate
        self._framer = Framer(vad.frame_size)
        self._frame_ms = 1000.0 * vad.frame_size / vad.sample_rate
        self._at = 0
        self._was_speech = False
        self._stretch_ms = 0.0
        self.onset_sample = 0
        self.last_speech_sample = 0
        self.is_speaking = False
        self.is_quiet = False
        self.speech_ms = 0.0
        self._last_loud_sample = 0
        self._loudest_power = 0.0
        self._quiet_share = 10 ** (-settings.quiet_below_db / 10)

    def push(self, pcm: np.ndarray) -> bool:
        """Hear more audio.

        Args:
            pcm: float32 [T] at the VAD's `sample_rate`, any length.
        Returns:
            True if a stretch of speech became certain in it.
        """
        started = False
        for frame in self._framer.push(pcm):
            started |= self._hear(frame)
        return started

    @property
    def may_be_speaking(self) -> bool:
        """True if the last frame sounded like speech, long enough to be certain or not."""
        return self._was_speech

    @property
    def words_until_sample(self) -> int:
        """One past the last sample that can carry words: the same before and after the VAD falls.

        A VAD goes on for about 100 ms after the last sound. Where it hears speech for longer
        than that, softly spoken as it may be, it is believed.
        """
        trailing_ms = 1000.0 * (self.last_speech_sample - self._last_loud_sample) / self._rate
        return self._last_loud_sample if trailing_ms <= VAD_TAIL_MS else self.last_speech_sample

    def configure(self, settings: TurnSettings) -> None:
        """Listen by other settings from now on."""
        self._settings = settings
        self._quiet_share = 10 ** (-settings.quiet_below_db / 10)

    def restart_count(self) -> None:
        """Count `speech_ms` from the present stretch on."""
        self.speech_ms = self._stretch_ms

    def _hear(self, frame: np.ndarray) -> bool:
        probability, self._state = self._vad.step(self._state, frame)
        settings = self._settings
        if self._was_speech:
            is_speech = probability >= settings.silence_threshold
        else:
            is_speech = probability >= settings.speech_threshold
        start, self._at = self._at, self._at + len(frame)
        self._measure(frame, is_speech)
        if not is_speech:
            self._was_speech, self.is_speaking, self._stretch_ms = False, False, 0.0
            return False
        if not self._was_speech:
            self._was_speech, self._stretch_start = True, start
        self._stretch_ms += self._frame_ms
        if self.is_speaking:
            self.last_speech_sample = self._at
            self.speech_ms += self._frame_ms
            return False
        if self._stretch_ms < settings.speech_start_ms:
            return False
        self.is_speaking = True
        self.onset_sample, self.last_speech_sample = self._stretch_start, self._at
        self.speech_ms += self._stretch_ms
        return True

    def _measure(self, frame: np.ndarray, is_speech: bool) -> None:
        """Compare the frame's loudness with the stretch's."""
        power = float(np.dot(frame, frame))
        if is_speech and not self._was_speech:
            self._loudest_power = 0.0
        self._loudest_power = max(self._loudest_power, power)
        self.is_quiet = power <= self._loudest_power * self._quiet_share
        if is_speech and not self.is_quiet:
            self._last_loud_sample = self._at
