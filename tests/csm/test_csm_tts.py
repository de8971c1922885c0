"""CSM as a voice of the cascade: replies apart, bad options, and what is said without files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from backtalk.audio.files import write_wav  # noqa: E402
from backtalk.csm.csm_tts import CsmTts, build_csm_tts  # noqa: E402
from backtalk.errors import AudioError, ConfigError, ModelError  # noqa: E402
from backtalk.models.store import ModelStore  # noqa: E402
from backtalk.stream.cancel import CancelToken  # noqa: E402


class FakeSpeaker:
    """Says three pieces per text, and what it said before."""

    def __init__(self) -> None:
        self.begin_reply()
        self.replies = 0

    def begin_reply(self) -> None:
        self.said: list[str] = []
        self.replies = getattr(self, "replies", 0) + 1

    def say(self, text: str) -> Any:
        self.said.append(text)
        for _ in range(3):
            yield np.full(1920, len(self.said), np.float32)


def new_tts(replies: int = 2) -> tuple[CsmTts, list[FakeSpeaker]]:
    made: list[FakeSpeaker] = []

    def new_speaker() -> Any:
        made.append(FakeSpeaker())
        return made[-1]

    return CsmTts(new_speaker, replies, "csm"), made


def test_texts_of_one_reply_are_one_conversation() -> None:
    tts, made = new_tts()
    reply = CancelToken()
    pieces = [list(tts.speak(text, reply)) for text in ("One.", "Two.")]
    assert [piece.text for piece in pieces[0]] == ["One.", "", ""]
    assert pieces[1][0].pcm[0] == 2
    assert len(made) == 1


def test_replies_at_the_same_time_do_not_mix() -> None:
    tts, made = new_tts()
    one, two = tts.speak("One.", CancelToken()), tts.speak("Two.", CancelToken())
    next(one), next(two)
    assert [speaker.said for speaker in made] == [["One."], ["Two."]]


def test_a_cancelled_reply_stops_and_its_room_is_used_again() -> None:
    tts, made = new_tts(replies=1)
    cancel = CancelToken()
    pieces = tts.speak("One.", cancel)
    next(pieces)
    cancel.cancel()
    assert list(pieces) == []
    list(tts.speak("Two.", CancelToken()))
    assert len(made) == 1
    assert made[0].said == ["Two."]


def test_a_very_long_text_is_spoken_in_parts() -> None:
    tts, made = new_tts()
    list(tts.speak("Some words, again and again. " * 140, CancelToken()))
    assert max(len(text) for text in made[0].said) <= 200
    assert len(made[0].said) > 15


def test_nothing_to_say_is_no_sound() -> None:
    tts, _ = new_tts()
    assert list(tts.speak("", CancelToken())) == []
    assert list(tts.speak(" ... ", CancelToken())) == []


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rvq": 0}, "1 to 32, or auto"),
        ({"rvq": 33}, "1 to 32, or auto"),
        ({"rvq": "many"}, "1 to 32, or auto"),
        ({"weights": "int2"}, "weights"),
        ({"feedback": "loud"}, "feedback"),
        ({"padding": "soft"}, "padding"),
        ({"speaker": -1}, "speaker"),
        ({"temperature": -1.0}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"replies": 0}, "replies"),
        ({"threads": 0}, "threads"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"end_bias": 21.0}, "end_bias is 21.0, but it must be -20 to 20"),
        ({"end_bias": float("inf")}, "end_bias"),
        ({"speaker": "Anna"}, "speaker is Anna, but it must be a whole number of 0 or more"),
        ({"rvq": ""}, "1 to 32, or auto"),
        ({"voice": "voice.wav"}, "voice_text"),
        ({"voice": "voice.wav", "voice_text": " "}, "voice_text"),
        ({"voice_text": "Hello."}, "give voice as well"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        build_csm_tts(
            random_weights=0, size="tiny", weights=options.pop("weights", "float32"), **options
        )


def test_a_voice_is_looked_for_before_anything_is_loaded(tmp_path: Path) -> None:
    voice = tmp_path / "voice.wav"
    with pytest.raises(AudioError, match="there is no such file"):
        build_csm_tts(ModelStore(tmp_path), voice=str(voice), voice_text="Hello.")
    write_wav(voice, np.zeros(76 * 8000, np.float32), 8000)
    with pytest.raises(AudioError, match="75"):
        build_csm_tts(ModelStore(tmp_path), voice=str(voice), voice_text="Hello.")


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gated.*tokenizer\.json.*--random-weights"):
        build_csm_tts(ModelStore(tmp_path))


def test_random_weights_speak_noise_in_frames() -> None:
    tts = build_csm_tts(random_weights=0, size="tiny", weights="float32", rvq="auto", threads=1)
    pieces = list(tts.speak("Hello.", CancelToken()))
    assert [piece.pcm.size // 1920 for piece in pieces][0] == 1
    assert all(np.isfinite(piece.pcm).all() for piece in pieces)
