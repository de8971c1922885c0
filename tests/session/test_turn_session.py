"""Turn-taking on virtual time: who has the turn, what is heard, what is remembered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from backtalk.errors import AudioError, ConfigError, SessionClosedError
from backtalk.session.responder import ReplyOptions
from backtalk.session.settings import TurnSettings
from backtalk.session.turn_session import TurnSession
from backtalk.stream.events import (
    Event,
    IdleTimeout,
    ReplyAudio,
    ReplyDone,
    ReplyInterrupted,
    ReplyPaused,
    ReplyResumed,
    ReplyStarted,
    SessionError,
    TurnDiscarded,
    TurnMeasured,
    UserSpeechStarted,
    UserTranscript,
    UserTurnEnded,
)
from fakes import (
    OUT_RATE,
    FakeResponder,
    FakeTurnDetector,
    FakeVad,
    silence,
    speak_into,
    talk,
    word,
)

SETTINGS = TurnSettings()
QUESTION = (word("what", 300), word("time", 300), word("is", 200), word("it", 300))


def session_with(
    responder: FakeResponder | None = None,
    settings: TurnSettings = SETTINGS,
    detector: FakeTurnDetector | None = None,
) -> TurnSession:
    return TurnSession(
        responder or FakeResponder(), FakeVad(), detector or FakeTurnDetector(), settings
    )


def of(events: list[Event], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


def remembered(responder: FakeResponder) -> list[tuple[str, str]]:
    """What the first session of `responder` keeps of its conversation."""
    return [(m.role, m.content) for m in responder.conversations[0].memory.messages()]


def audio_of(events: list[Event], turn: int) -> np.ndarray:
    """What a listener hears who drops what is unplayed when told to: later audio overwrites."""
    pieces = [e for e in of(events, ReplyAudio) if e.turn == turn]
    heard = np.zeros(max((e.offset + len(e.pcm) for e in pieces), default=0), np.float32)
    for piece in pieces:
        heard[piece.offset : piece.offset + len(piece.pcm)] = piece.pcm
    return heard


async def test_a_question_gets_one_reply_with_an_additive_latency_record() -> None:
    responder = FakeResponder()
    events = await talk(session_with(responder), silence(500), *QUESTION, silence(3000))

    assert [e.text for e in of(events, UserTranscript) if e.final] == ["what time is it"]
    assert len(audio_of(events, 1)) == OUT_RATE  # five words of 200 ms
    assert len(of(events, ReplyDone)) == 1
    latency = of(events, TurnMeasured)[0].latency
    assert latency.ttfa_ms == pytest.approx(sum(latency.stages_ms.values()))
    # From the soft end: 50 ms to recognise it, 150 ms to the first audio.
    assert latency.ttfa_ms == pytest.approx(SETTINGS.soft_end_ms + 50 + 150, abs=45)
    assert remembered(responder) == [
        ("user", "what time is it"),
        ("assistant", "one two three four five"),
    ]


async def test_the_clock_starts_at_the_last_speech_sample_not_at_the_decision() -> None:
    events = await talk(session_with(), silence(500), *QUESTION, silence(3000))
    ended = of(events, UserTurnEnded)[0]
    # VAD frames are 32 ms long, so its last speech sample is at most one frame off.
    assert ended.sample / 16 == pytest.approx(1600, abs=33)
    first_audio_s = of(events, ReplyAudio)[0].at_s
    zero_s = first_audio_s - of(events, TurnMeasured)[0].latency.ttfa_ms / 1000
    started_s = of(events, UserSpeechStarted)[0].at_s
    assert zero_s - started_s == pytest.approx(1.1 - 0.064, abs=0.05)


@pytest.mark.parametrize("chunk_ms", [1, 10, 20, 32, 50, 100])
async def test_the_size_of_the_clients_chunks_does_not_change_what_happens(chunk_ms: int) -> None:
    responder = FakeResponder()
    events = await talk(
        session_with(responder), silence(500), *QUESTION, silence(3000), chunk_ms=chunk_ms
    )
    assert [e.text for e in of(events, UserTranscript) if e.final] == ["what time is it"]
    assert len(audio_of(events, 1)) == OUT_RATE


@pytest.mark.parametrize("pause_ms", [200, 300, 400, 500, 600, 700])
async def test_a_pause_after_an_unfinished_phrase_does_not_end_the_turn(pause_ms: int) -> None:
    detector = FakeTurnDetector(incomplete_after=["time"])
    events = await talk(
        session_with(detector=detector),
        word("what", 300),
        word("time", 300),
        silence(pause_ms),
        word("is", 300),
        word("it", 300),
        silence(2500),
    )
    assert [e.text for e in of(events, UserTranscript) if e.final] == ["what time is it"]
    assert not of(events, ReplyInterrupted)


async def test_a_reply_begun_in_a_pause_is_thrown_away_and_never_heard() -> None:
    responder = FakeResponder(per_word_s=0.2)
    detector = FakeTurnDetector(incomplete_after=["time"])
    session = session_with(responder, detector=detector)
    pieces = (word("what", 300), word("time", 300), silence(500), word("please", 300))
    events = await talk(session, *pieces, silence(2500))
    conversation = responder.conversations[0]
    assert conversation.responses == ["what time", "what time please"]
    assert conversation.finished == ["what time please"]
    assert of(events, TurnMeasured)[0].latency.speculations == 1
    assert not session._replies._all  # nothing of it is kept
    assert {e.turn for e in of(events, ReplyAudio)} == {1}


async def test_words_that_want_more_hold_the_turn_open_whatever_it_sounds_like() -> None:
    pieces = (word("what", 300), word("is", 300), silence(600), word("it", 300), silence(2500))
    events = await talk(session_with(), *pieces)
    assert [e.text for e in of(events, UserTranscript) if e.final] == ["what is it"]
    assert not of(events, ReplyInterrupted)
    # The same pause without a judge of words: the reply starts in it.
    events = await talk(session_with(FakeResponder(judges_words=False)), *pieces)
    assert of(events, ReplyInterrupted)[0].reopened


async def test_a_turn_that_sounds_unfinished_is_answered_after_the_longer_wait() -> None:
    detector = FakeTurnDetector(incomplete_after=["it"])
    events = await talk(session_with(detector=detector), *QUESTION, silence(3000))
    latency = of(events, TurnMeasured)[0].latency
    assert latency.ttfa_ms == pytest.approx(SETTINGS.incomplete_wait_ms, abs=60)
    assert latency.stages_ms["hold"] > 300


async def test_speculation_saves_what_the_models_take_inside_the_silence() -> None:
    slow = FakeResponder(first_audio_s=0.3)
    with_it = await talk(session_with(slow), *QUESTION, silence(3000))
    settings = replace(SETTINGS, speculate=False, complete_wait_ms=500)
    without = await talk(session_with(slow, settings), *QUESTION, silence(3000))
    settings = replace(settings, speculate=True)
    held = await talk(session_with(slow, settings), *QUESTION, silence(3000))
    ttfa_ms = [of(events, TurnMeasured)[0].latency.ttfa_ms for events in (with_it, held, without)]
    assert ttfa_ms[0] == pytest.approx(SETTINGS.soft_end_ms + 350, abs=50)
    assert ttfa_ms[1] == pytest.approx(510, abs=50)
    assert ttfa_ms[2] == pytest.approx(850, abs=50)


async def test_barge_in_stops_the_reply_and_keeps_only_what_was_heard() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    session = session_with(responder)
    # The reply starts about 280 ms into the silence and lasts 4 s.
    events = await talk(session, *QUESTION, silence(1400), word("stop", 500), silence(2500))

    interrupted = of(events, ReplyInterrupted)[0]
    assert not interrupted.reopened
    heard_ms = 1000 * interrupted.heard_samples / OUT_RATE
    # Speech at 1400 ms; looked at after 256 ms, recognised in 50 ms.
    assert heard_ms == pytest.approx(1400 - 280 + 256 + 50, abs=80)
    words = interrupted.heard_text.split()
    assert words == [f"w{n}" for n in range(len(words))]
    assert len(words) == int(heard_ms // 200)
    assert remembered(responder)[1] == ("assistant", interrupted.heard_text)
    after = [e for e in events[events.index(interrupted) :] if isinstance(e, ReplyAudio)]
    assert {e.turn for e in after} == {2}
    assert of(events, TurnMeasured)[0].latency.barge_in_ms == pytest.approx(306, abs=70)
    assert [e.text for e in of(events, UserTranscript) if e.final][-1] == "stop"


async def test_a_backchannel_does_not_interrupt_or_even_pause() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    events = await talk(
        session_with(responder), *QUESTION, silence(1400), word("uh-huh", 400), silence(4000)
    )
    assert not of(events, ReplyInterrupted)
    assert not of(events, ReplyPaused)
    assert [(e.turn, e.reason) for e in of(events, TurnDiscarded)] == [(2, "backchannel")]
    assert len(audio_of(events, 1)) == 20 * 200 * OUT_RATE // 1000
    assert remembered(responder)[1][1].endswith("w19")


async def test_long_noise_pauses_the_reply_which_then_goes_on_where_it_stopped() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    events = await talk(
        session_with(responder), *QUESTION, silence(1400), word("noise", 1000), silence(6000)
    )
    paused, resumed = of(events, ReplyPaused)[0], of(events, ReplyResumed)[0]
    assert paused.heard_samples == resumed.heard_samples > 0
    going_on = [e for e in events[events.index(resumed) :] if isinstance(e, ReplyAudio)]
    assert going_on[0].offset == paused.heard_samples
    assert len(audio_of(events, 1)) == 20 * 200 * OUT_RATE // 1000
    assert not of(events, ReplyInterrupted)
    assert of(events, TurnMeasured)[0].latency.barge_in_ms is None


async def test_a_reply_paused_by_speech_goes_on_if_the_microphone_is_switched_off_then() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    session, events = session_with(responder), list[Event]()

    async def listen() -> None:
        async for event in session.events():
            events.append(event)

    listener = asyncio.create_task(listen())
    await speak_into(session, *QUESTION, silence(1400), word("noise", 850))
    assert of(events, ReplyPaused)
    assert not of(events, ReplyResumed)
    await asyncio.sleep(SETTINGS.max_pause_ms / 1000 + 5)
    assert of(events, ReplyResumed)
    assert of(events, TurnMeasured)
    await session.close()
    await listener
    assert len(audio_of(events, 1)) == 20 * 200 * OUT_RATE // 1000


async def test_a_user_who_goes_on_right_away_gets_their_turn_back() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(20)])
    # "what time" sounds complete, so the reply starts at about 280 ms; they go on at 500.
    events = await talk(
        session_with(responder),
        word("what", 300),
        word("time", 300),
        silence(500),
        word("is", 300),
        word("it", 300),
        silence(5500),
    )
    interrupted = of(events, ReplyInterrupted)[0]
    assert interrupted.reopened
    assert interrupted.heard_samples < SETTINGS.reopen_heard_ms * OUT_RATE / 1000
    finals = [(e.turn, e.text) for e in of(events, UserTranscript) if e.final]
    assert finals == [(1, "what time"), (1, "what time is it")]
    # Only the reply to the whole turn is remembered.
    assert [role for role, _ in remembered(responder)] == ["user", "assistant"]
    assert remembered(responder)[0] == ("user", "what time is it")
    assert responder.conversations[0].finished[-1] == "what time is it"


async def test_noise_alone_is_no_turn() -> None:
    responder = FakeResponder()
    events = await talk(session_with(responder), word("noise", 600), silence(2000))
    assert [e.reason for e in of(events, TurnDiscarded)] == ["noise"]
    assert not of(events, ReplyAudio)
    assert remembered(responder) == []


async def test_a_click_shorter_than_speech_opens_no_turn() -> None:
    events = await talk(session_with(), silence(300), word("hello", 30), silence(2000))
    assert events == []


async def test_a_system_without_words_tells_a_barge_in_by_its_length() -> None:
    def responder() -> FakeResponder:
        return FakeResponder(reply_words=["w"] * 20, has_transcript=False)

    short = await talk(
        session_with(responder()), *QUESTION, silence(1400), word("stop", 350), silence(5000)
    )
    assert not of(short, ReplyInterrupted)
    assert of(short, ReplyResumed)
    long = await talk(
        session_with(responder()), *QUESTION, silence(1400), word("stop", 700), silence(3000)
    )
    assert of(long, ReplyInterrupted)


async def test_audio_is_never_sent_further_ahead_than_allowed() -> None:
    responder = FakeResponder(reply_words=["w"] * 30, per_word_s=0.0)
    events = await talk(session_with(responder), *QUESTION, silence(8000))
    pieces = of(events, ReplyAudio)
    began_s = pieces[0].at_s
    for piece in pieces:
        ahead_s = (piece.offset + len(piece.pcm)) / OUT_RATE - (piece.at_s - began_s)
        assert ahead_s <= (SETTINGS.max_unplayed_ms + SETTINGS.piece_ms) / 1000 + 1e-6
    assert of(events, TurnMeasured)[0].latency.underruns == 0


async def test_a_listener_who_stops_playing_stops_the_sending() -> None:
    responder = FakeResponder(reply_words=["w"] * 30, per_word_s=0.0)
    session = session_with(responder)

    def report(event: Event) -> None:
        if isinstance(event, ReplyAudio):  # a player stuck at the first 100 ms
            session.played(event.turn, 2400)

    events = await talk(session, *QUESTION, silence(1500), on_event=report)
    sent = max(e.offset + len(e.pcm) for e in of(events, ReplyAudio))
    # It plays on from each report by the clock, and each piece brings another report.
    assert sent / OUT_RATE < 1.2


async def test_a_stage_that_fails_costs_one_reply_and_says_so() -> None:
    responder = FakeResponder(fail_after_words=2)
    events = await talk(
        session_with(responder), *QUESTION, silence(2500), word("hello", 400), silence(2500)
    )
    errors = of(events, SessionError)
    assert [e.stage for e in errors] == ["llm", "llm"]
    replies = [text for role, text in remembered(responder) if role == "assistant"]
    assert replies == ["one two"] * 2


async def test_a_stage_that_fails_before_any_sound_discards_the_turn() -> None:
    events = await talk(session_with(FakeResponder(fail_after_words=0)), *QUESTION, silence(2500))
    assert [e.reason for e in of(events, TurnDiscarded)] == ["failed"]


async def test_push_to_talk_ends_the_turn_at_once() -> None:
    session = session_with(detector=FakeTurnDetector(incomplete_after=["it"]))
    await speak_into(session, *QUESTION)
    await session.end_turn()
    events = await talk(session, silence(1500))
    latency = of(events, TurnMeasured)[0].latency
    assert latency.ttfa_ms == pytest.approx(200, abs=60)


async def test_a_turn_longer_than_allowed_is_answered_while_the_user_still_speaks() -> None:
    settings = replace(SETTINGS, max_turn_ms=2000)
    events = await talk(session_with(settings=settings), word("more", 3000), silence(100))
    assert of(events, UserTurnEnded)


async def test_idle_is_reported_once_until_somebody_speaks_again() -> None:
    settings = replace(SETTINGS, idle_timeout_s=1.0)
    events = await talk(session_with(settings=settings), silence(4000))
    assert len(of(events, IdleTimeout)) == 1
    events = await talk(session_with(settings=settings), silence(1500), *QUESTION, silence(4000))
    assert len(of(events, IdleTimeout)) == 2


async def test_bad_samples_are_made_harmless_and_bad_arrays_refused() -> None:
    session = session_with()
    broken = word("hello", 400).copy()
    broken[::50] = np.nan
    broken[1::50] = np.inf
    broken[2::50] = 1e30
    with pytest.raises(AudioError, match="mono float PCM"):
        await session.feed(np.zeros((2, 100), np.float32))
    with pytest.raises(AudioError, match="int16"):
        await session.feed(np.zeros(100, np.int16))
    events = await talk(session, broken, np.zeros(0, np.float32), silence(2000))
    assert of(events, ReplyAudio)


async def test_a_closed_session_refuses_audio_and_closing_twice_is_fine() -> None:
    responder = FakeResponder()
    session = session_with(responder)
    await speak_into(session, *QUESTION, silence(300))
    await session.close()
    await session.close()
    assert responder.conversations[0].is_closed
    with pytest.raises(SessionClosedError):
        await session.feed(silence(20))


async def test_sessions_of_one_responder_do_not_disturb_each_other() -> None:
    import asyncio

    responder = FakeResponder()
    both = await asyncio.gather(
        talk(session_with(responder), *QUESTION, silence(3000)),
        talk(session_with(responder), silence(200), word("hello", 400), silence(3200)),
    )
    said = [[e.text for e in of(events, UserTranscript) if e.final] for events in both]
    assert said == [["what time is it"], ["hello"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"piece_ms": 0}, "piece_ms must be at least 1"),
        ({"speech_threshold": 1.5}, "between 0 and 1"),
        ({"soft_end_ms": 500}, "soft_end_ms .500. must not be above complete_wait_ms"),
        ({"pre_roll_ms": -1}, "pre_roll_ms must be 0 or more"),
        ({"idle_timeout_s": float("nan")}, "idle_timeout_s"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(SETTINGS, **change)


# What a client may do beside speaking.


async def listen_to(session: TurnSession) -> tuple[list[Event], asyncio.Task[None]]:
    events: list[Event] = []

    async def listen() -> None:
        async for event in session.events():
            events.append(event)

    return events, asyncio.create_task(listen())


async def test_where_the_client_ends_the_turns_silence_does_not_nor_comes_a_reply_unasked() -> None:
    responder = FakeResponder()
    session = session_with(responder, replace(SETTINGS, ends_turns=False))
    events, listening = await listen_to(session)
    await speak_into(session, *QUESTION, silence(2000), word("please", 300))
    assert events == []
    item_id = session.commit()
    await asyncio.sleep(1)
    ended, transcript = events
    assert (ended.item_id, transcript.text) == (item_id, "what time is it please")
    assert remembered(responder) == [("user", "what time is it please")]
    assert session.commit() is None  # nothing was said since
    await session.close()
    await listening


async def test_a_reply_is_made_when_the_client_asks_for_it_and_waits_for_the_words() -> None:
    responder = FakeResponder()
    session = session_with(responder, replace(SETTINGS, ends_turns=False))
    events, listening = await listen_to(session)
    await speak_into(session, *QUESTION)
    session.commit()
    session.reply()
    await asyncio.sleep(3)
    assert remembered(responder) == [
        ("user", "what time is it"),
        ("assistant", "one two three four five"),
    ]
    assert len(of(events, ReplyStarted)) == len(of(events, ReplyDone)) == 1
    await session.close()
    await listening


async def test_what_the_client_takes_back_is_not_part_of_the_turn() -> None:
    responder = FakeResponder()
    session = session_with(responder, replace(SETTINGS, ends_turns=False))
    events, listening = await listen_to(session)
    await speak_into(session, word("noise", 300), word("stop", 300))
    session.clear()
    await speak_into(session, word("hello", 300))
    session.commit()
    await asyncio.sleep(1)
    assert [e.text for e in of(events, UserTranscript)] == ["hello"]
    await session.close()
    await listening


async def test_turns_end_by_themselves_but_wait_for_a_reply_where_the_client_wants_it_so() -> None:
    responder = FakeResponder()
    settings = replace(SETTINGS, replies=False)
    events = await talk(session_with(responder, settings), *QUESTION, silence(2000))
    assert [e.text for e in of(events, UserTranscript) if e.final] == ["what time is it"]
    assert not of(events, ReplyStarted)
    assert remembered(responder) == [("user", "what time is it")]


async def test_a_reply_that_must_not_be_interrupted_is_spoken_to_its_end_then_answered() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(10)])
    settings = replace(SETTINGS, yields=False)
    pieces = (*QUESTION, silence(1200), word("stop", 500), silence(6000))
    events = await talk(session_with(responder, settings), *pieces)
    assert not of(events, ReplyInterrupted)
    assert [role for role, _ in remembered(responder)] == ["user", "assistant"] * 2


async def test_a_client_can_cancel_truncate_and_ask_again() -> None:
    responder = FakeResponder(reply_words=[f"w{n}" for n in range(10)])
    session = session_with(responder)
    events, listening = await listen_to(session)
    await speak_into(session, *QUESTION, silence(1500))
    session.cancel_reply()
    (started,) = of(events, ReplyStarted)
    session.truncate(started.item_id, 2 * 200 * OUT_RATE // 1000)
    assert remembered(responder)[1] == ("assistant", "w0 w1")
    with pytest.raises(KeyError):
        session.truncate("no such item", 1)
    session.reply(ReplyOptions(speaks=False))
    await asyncio.sleep(3)
    assert remembered(responder)[2][1].startswith("w0")
    assert {e.turn for e in of(events, ReplyAudio)} == {1}
    await session.close()
    await listening


async def test_a_reply_asked_for_while_another_is_heard_comes_behind_it() -> None:
    responder = FakeResponder()
    session = session_with(responder)
    events, listening = await listen_to(session)
    await speak_into(session, *QUESTION, silence(1300))
    session.reply()
    await speak_into(session, silence(4000))
    kinds = [type(e) for e in events if isinstance(e, ReplyStarted | TurnMeasured)]
    assert kinds == [ReplyStarted, TurnMeasured] * 2
    await session.close()
    await listening
