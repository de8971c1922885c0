"""VAD probabilities in, "speaking since / silent since" out, in samples of the user's audio."""

from __future__ import annotations

import numpy as np

from backtalk.audio.framing import Framer
from backtalk.session.detectors import VoiceActivityDetector
from backtalk.session.settings import TurnSettings


class SpeechTracker:
    """Where in the user's audio there is speech. One per session.

    Attributes:
        onset_sample: first sample of the present stretch of speech, or of the last one.
        last_speech_sample: one past the last sample of speech heard so far.
        is_speaking: True from the moment a stretch has lasted `speech_start_ms` until its first
            frame of silence.
        speech_ms: how much of the time since `restart_count` was speech.
    """

    def __init__(self, vad: VoiceActivityDetector, settings: TurnSettings) -> None:
        self._vad = vad
        self._state = vad.new_state()
        self._settings = settings
        self._framer = Framer(vad.frame_size)
        self._frame_ms = 1000.0 * vad.frame_size / vad.sample_rate
        self._at = 0
        self._was_speech = False
        self._stretch_ms = 0.0
        self.onset_sample = 0
        self.last_speech_sample = 0
        self.is_speaking = False
        self.speech_ms = 0.0

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
