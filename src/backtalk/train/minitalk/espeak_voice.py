"""User voices on espeak-ng: formant synthesis in many timbres, with the time of each word.

Source: https://github.com/espeak-ng/espeak-ng (GPL-3.0-or-later), a shared library in the package
`espeakng-loader`, called through its C interface `speak_lib.h`. Backtalk contains none of it. The
times are the library's own word events.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from backtalk.errors import ConfigError, StageError
from backtalk.train.minitalk.spoken import Spoken, Word, words_of

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_BUFFER_MS = 200
_RATE, _PITCH = 1, 3
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_EVENT_WORD = 1


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class EspeakVoices:
    """All espeak-ng voices of a process; there can be only one of these, it is one C library.

    What it says next depends a little on all it has said before: it has hidden state that cannot
    be reset. The same sentences in the same order from a fresh process give the same samples.

    Raises:
        ConfigError: `espeakng-loader` is not installed or its library does not load.
    """

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise ConfigError(
                "the espeak-ng user voices need the package espeakng-loader (GPL-3.0), which is "
                "not installed; run: pip install 'backtalk[train]'"
            ) from None
        try:
            self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise ConfigError(f"espeak-ng's library does not load: {error}") from error
        data = espeakng_loader.get_data_path().encode()
        self.sample_rate: int = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _BUFFER_MS, data, 0
        )
        if self.sample_rate <= 0:
            raise ConfigError(f"espeak-ng cannot use its data in {data.decode()}")
        self._pcm = bytearray()
        self._starts_s: list[float] = []
        self._callback = _Callback(self._take)  # kept: C holds no reference to it
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> Spoken:
        """One sentence.

        Args:
            voice: in espeak-ng's words, language and variant, such as `en-us+f2`.
            words_per_minute: pace.
            pitch: 0 to 99, of the variant's own range.
        Raises:
            StageError: no such voice, or nothing was said.
        """
        self._pcm.clear()
        self._starts_s.clear()
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise StageError("tts", f"espeak-ng has no voice {voice!r}")
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode()
        failed = self._library.espeak_Synth(
            data, len(data) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if failed or not self._pcm:
            raise StageError("tts", f"espeak-ng could not speak {text!r}")
        pcm = np.frombuffer(bytes(self._pcm), "<i2").astype(np.float32) / 32768
        return Spoken(pcm, self.sample_rate, self._words(text, len(pcm)))

    def _take(self, pcm: Any, count: int, events: Any) -> int:
        """Called by the library with every piece of sound."""
        if pcm and count > 0:
            self._pcm += ctypes.string_at(pcm, 2 * count)
        at = 0
        while events[at].type:
            if events[at].type == _EVENT_WORD:
                self._starts_s.append(events[at].audio_position / 1000)
            at += 1
        return 0

    def _words(self, text: str, samples: int) -> tuple[Word, ...]:
        words = words_of(text)
        if len(words) != len(self._starts_s):
            return ()
        ends_s = [*self._starts_s[1:], samples / self.sample_rate]
        return tuple(
            Word(word, start_s, end_s)
            for word, start_s, end_s in zip(words, self._starts_s, ends_s, strict=True)
        )
