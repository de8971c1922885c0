"""Replies in another voice: when they are heard, what of them is remembered, and word by word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from backtalk.errors import ConfigError
from backtalk.session.converted_responder import ConvertedResponder
from backtalk.session.converted_sound import ConvertedSound
from backtalk.session.converter_stream import ConverterStream
from backtalk.session.frame_system import FrameSpec, StepOut
from backtalk.session.responder import Sound
from backtalk.session.turn_session import TurnSession
from backtalk.stream.check import check_schedules
from backtalk.stream.events import (
    Event,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    SessionError,
    TurnMeasured,
    UserSpeechStarted,
)
from backtalk.systems import build_agent
from fakes import FakeResponder, FakeTurnDetector, FakeVad, silence, talk, word

FRAME, LATE = 208, 16
DESIGN_MS = 14.0
RESAMPLING_MS = 20.0
"""What the resampler from the voice's rate may hold back on top."""


@dataclass
class LateRow:
    """What a row of `Negative` remembers."""

    tail: np.ndarray
    steps: int = 0


class Negative:
    """A converter with LLVC's frame and lookahead that gives back its input, negated."""

    spec = FrameSpec("negative", 16_000, FRAME, LATE)
    description = "negative"

    def __init__(self, breaks_at: int | None = None) -> None:
        self.breaks_at = breaks_at
        self.rows = 0

    def alloc(self, slots: int) -> LateRow:
        assert slots == 1
        self.rows += 1
        return LateRow(np.zeros(LATE, np.float32))

    def reset(self, state: LateRow, mask: np.ndarray) -> None:
        state.tail[:] = 0

    def step(self, state: LateRow, pcm: np.ndarray, active: np.ndarray) -> StepOut:
        state.steps += 1
        if state.steps == self.breaks_at:
            raise RuntimeError("out of memory")
        joined = np.concatenate([state.tail, pcm[0]])
        state.tail = joined[-LATE:]
        return StepOut(-joined[None, :FRAME])


LONG = [f"w{n}" for n in range(30)]


async def conversation(
    *pieces: np.ndarray, converter: Negative | None = None, reply: list[str] | None = None
) -> list[Event]:
    responder = FakeResponder(reply_words=reply or ["one", "two", "three"])
    if converter is not None:
        responder = ConvertedResponder(responder, converter)
        await responder.warm_up()
    events = await talk(TurnSession(responder, FakeVad(), FakeTurnDetector()), *pieces)
    await responder.close()
    return events


def first_audio_s(events: list[Event]) -> float:
    """From the moment the user began to speak."""
    began_s = next(event.at_s for event in events if isinstance(event, UserSpeechStarted))
    return next(event.at_s for event in events if isinstance(event, ReplyAudio)) - began_s


async def test_a_converted_reply_begins_no_later_than_the_design_and_is_as_long() -> None:
    said = [silence(200), word("what", 300), word("time", 300), silence(2500)]
    plain, converted = await conversation(*said), await conversation(*said, converter=Negative())
    late_ms = 1000 * (first_audio_s(converted) - first_audio_s(plain))
    assert 0 <= late_ms <= DESIGN_MS
    pcm = np.concatenate([event.pcm for event in converted if isinstance(event, ReplyAudio)])
    assert pcm.size == 3 * 200 * 16
    assert pcm[200:-200] == pytest.approx(-0.3, abs=0.01)
    [done] = [event for event in converted if isinstance(event, ReplyDone)]
    assert (done.samples, done.error) == (pcm.size, None)
    [measured] = [event.latency for event in converted if isinstance(event, TurnMeasured)]
    assert measured.stages_ms["voice_conversion"] <= DESIGN_MS
    assert sum(measured.stages_ms.values()) == measured.ttfa_ms
    assert measured.underruns == 0


@pytest.mark.parametrize("cut_after_ms", [700, 1150, 1640])
async def test_a_cut_converted_reply_is_remembered_as_the_same_words(cut_after_ms: int) -> None:
    said = [
        silence(200), word("what", 300), word("time", 300), silence(500 + cut_after_ms),
        word("stop", 600), silence(1000),
    ]  # fmt: skip
    heard = []
    for converter in (None, Negative()):
        events = await conversation(*said, converter=converter, reply=LONG)
        [cut] = [event for event in events if isinstance(event, ReplyInterrupted)]
        rate = 24_000 if converter is None else 16_000
        words_heard = int(cut.heard_samples / rate / 0.2)
        assert cut.heard_text.split() == LONG[:words_heard]
        heard.append(1000 * cut.heard_samples / rate)
    assert words_heard >= 2
    assert heard[1] == pytest.approx(heard[0], abs=DESIGN_MS + RESAMPLING_MS)


async def test_every_reply_has_a_row_of_its_own() -> None:
    converter = Negative()
    said = [silence(200), word("what", 300), silence(2500)]
    events = await conversation(*said, *said, converter=converter)
    assert sum(isinstance(event, ReplyDone) for event in events) == 2
    assert converter.rows == 3, "one of them was for the warm-up"
    replies: dict[int, list[np.ndarray]] = {}
    for event in events:
        if isinstance(event, ReplyAudio):
            replies.setdefault(event.turn, []).append(event.pcm)
    first, second = (np.concatenate(pieces) for pieces in replies.values())
    assert np.array_equal(first, second)


async def test_a_converter_that_breaks_costs_one_reply() -> None:
    said = [silence(200), word("what", 300), silence(2500)]
    events = await conversation(*said, converter=Negative(breaks_at=35))
    [error] = [event.message for event in events if isinstance(event, SessionError)]
    assert "out of memory" in error


@pytest.mark.parametrize("rate_in", [16_000, 24_000, 22_050])
@pytest.mark.parametrize("piece", [1, 77, 480, 5_000])
def test_words_stay_at_the_sample_where_they_were(rate_in: int, piece: int) -> None:
    sound = ConvertedSound(ConverterStream(Negative(), rate_in))
    pieces, words = [], []
    for n, at in enumerate(range(0, 10_000, piece)):
        text = f"w{n}" if n % 3 == 0 else ""
        if text:
            words.append((at * 16_000 // rate_in, text))
        pieces += sound.push(Sound(np.full(piece, 0.1, np.float32), text))
    pieces += sound.flush()
    at, found = 0, []
    for made in pieces:
        if made.text:
            found += [(at, text) for text in made.text.split()]
        at += made.pcm.size
    total = piece * -(-10_000 // piece)
    assert at == (2 * total * 16_000 + rate_in) // (2 * rate_in)
    if piece > 1:  # of shorter pieces several words may begin at one sample
        assert found == words
    assert [text for _, text in found] == [text for _, text in words]


def test_a_stream_between_two_rates_is_the_same_in_any_schedule() -> None:
    pcm = np.random.default_rng(0).uniform(-0.9, 0.9, 5_001).astype(np.float32)
    check_schedules(lambda: ConverterStream(Negative(), 24_000, 16_000), pcm, atol=1e-6)


def test_a_system_without_replies_refuses_a_voice_for_them() -> None:
    with pytest.raises(ConfigError, match="echo takes no turns"):
        build_agent("echo", voice_conversion="random-0")
