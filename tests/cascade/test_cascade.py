"""The cascade with fake stages: overlap, history, tools, failures, cancellation."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np

from backtalk.cascade.cascade import Cascade
from backtalk.cascade.prompt import SPOKEN_STYLE_PROMPT
from backtalk.cascade.protocols import ToolRequest
from backtalk.cascade.segmenter import build_clause_segmenter
from backtalk.session.memory import Memory, Message, memory_of
from backtalk.session.responder import (
    Computed,
    Heard,
    Reached,
    ReplyOptions,
    Said,
    Sound,
    UserTurn,
)
from backtalk.session.settings import TurnSettings
from backtalk.session.turn_session import TurnSession
from backtalk.stream.cancel import CancelToken
from backtalk.stream.events import ReplyInterrupted, SessionError, ToolCall, TurnMeasured
from fakes import (
    FakeAsr,
    FakeLlm,
    FakeTts,
    FakeTurnDetector,
    FakeVad,
    silence,
    talk,
    word,
)

PLAIN = ReplyOptions()
HELLO = UserTurn(1, np.concatenate([word("hello", 300), silence(200)]), 4800)


def cascade_of(llm: FakeLlm | None = None, tts: FakeTts | None = None) -> Cascade:
    return Cascade(FakeAsr(), llm or FakeLlm(), tts or FakeTts(), build_clause_segmenter)


async def parts_of(
    cascade: Cascade, turn: UserTurn | None = HELLO, options: ReplyOptions = PLAIN
) -> list:
    return [part async for part in cascade.open(Memory()).respond(turn, options, CancelToken())]


async def test_a_turn_becomes_words_text_and_sound_with_every_stage_marked() -> None:
    parts = await parts_of(cascade_of())
    assert [p.text for p in parts if isinstance(p, Heard)] == ["hello"]
    assert (
        "".join(p.text for p in parts if isinstance(p, Said))
        == "It is four. Do you need more time?"
    )
    spoken = " ".join(p.text for p in parts if isinstance(p, Sound))
    assert spoken == "It is four. Do you need more time?"
    assert [p.stage for p in parts if isinstance(p, Reached)] == [
        "asr",
        "llm_first_token",
        "first_chunk",
        "tts_first_audio",
    ]
    assert sum(isinstance(p, Computed) for p in parts) >= 3


async def test_the_first_chunk_is_spoken_while_the_rest_is_still_being_written() -> None:
    tts = FakeTts()
    llm = FakeLlm("One two three four five. " + "And so on and on. " * 10)
    conversation = cascade_of(llm, tts).open(Memory())
    async with aclosing(conversation.respond(HELLO, PLAIN, CancelToken())) as parts:
        async for part in parts:
            if isinstance(part, Sound):
                break
    assert len(tts.spoken) == 1


async def test_no_words_make_no_reply() -> None:
    noise = UserTurn(1, word("noise", 400), 6400)
    parts = await parts_of(cascade_of(), noise)
    assert [p for p in parts if isinstance(p, Heard)] == [Heard("")]
    assert not any(isinstance(p, Sound) for p in parts)


async def test_the_same_words_are_recognised_once_however_often_they_are_asked_for() -> None:
    cascade = cascade_of()
    conversation = cascade.open(Memory())
    heard = await asyncio.gather(conversation.hear(HELLO, PLAIN), conversation.hear(HELLO, PLAIN))
    later = UserTurn(1, np.concatenate([HELLO.pcm, silence(300)]), HELLO.speech_samples)
    _ = [part async for part in conversation.respond(later, PLAIN, CancelToken())]
    assert [words.text for words in heard if words is not None] == ["hello", "hello"]
    assert cascade.asr.calls == 1


async def test_a_reply_leaves_the_memory_to_the_session_and_reads_all_of_it() -> None:
    llm = FakeLlm()
    memory = memory_of([Message("user", "hello"), Message("assistant", "It is")])
    conversation = cascade_of(llm).open(memory)
    _ = [part async for part in conversation.respond(HELLO, PLAIN, CancelToken())]
    assert [m.content for m in llm.prompts[-1][1:]] == ["hello", "It is", "hello"]
    _ = [part async for part in conversation.respond(None, PLAIN, CancelToken())]
    assert [m.content for m in llm.prompts[-1][1:]] == ["hello", "It is"]
    assert len(memory) == 2


async def test_instructions_stand_before_the_style_of_speech_and_alone_in_text_replies() -> None:
    llm = FakeLlm()
    await parts_of(cascade_of(llm), options=ReplyOptions(instructions="Be a pirate."))
    system = llm.prompts[-1][0].content
    assert system.startswith("Be a pirate.")
    assert system.endswith(SPOKEN_STYLE_PROMPT)
    options = ReplyOptions(instructions="Be a pirate.", speaks=False)
    parts = await parts_of(cascade_of(llm), options=options)
    assert llm.prompts[-1][0].content == "Be a pirate."
    assert not any(isinstance(part, Sound) for part in parts)
    assert any(isinstance(part, Said) for part in parts)


async def test_cancelling_stops_the_language_model() -> None:
    llm = FakeLlm("word " * 500)
    conversation = cascade_of(llm).open(Memory())
    parts = conversation.respond(HELLO, PLAIN, CancelToken())
    async for part in parts:
        if isinstance(part, Sound):
            break
    await parts.aclose()
    assert llm.stopped_early == 1


async def test_barge_in_reaches_every_stage_and_truncates_the_history() -> None:
    llm = FakeLlm("One two three four five six seven. " * 20)
    cascade = cascade_of(llm)
    session = TurnSession(cascade, FakeVad(), FakeTurnDetector(), TurnSettings())
    events = await talk(
        session, word("hello", 400), silence(2000), word("stop", 500), silence(1500)
    )
    interrupted = next(e for e in events if isinstance(e, ReplyInterrupted))
    assert interrupted.heard_text.startswith("One two")
    second_prompt = [p for p in llm.prompts if p[-1].content == "stop"][-1]
    assert [m.role for m in second_prompt] == ["system", "user", "assistant", "user"]
    assert second_prompt[2].content == interrupted.heard_text
    assert llm.stopped_early >= 1


async def test_a_tool_is_called_only_once_the_turn_is_certain_and_its_answer_is_used() -> None:
    def script(messages: list[Message]) -> list[str | ToolRequest]:
        if messages[-1].role == "tool":
            return ["It", " is", f" {messages[-1].content}", "."]
        return [ToolRequest("call-1", "clock", "{}")]

    session = TurnSession(
        cascade_of(FakeLlm(script=script)), FakeVad(), FakeTurnDetector(), TurnSettings()
    )

    def answer(event: object) -> None:
        if isinstance(event, ToolCall):
            session.tool_result(event.call_id, "four")

    events = await talk(session, word("hello", 400), silence(3000), on_event=answer)
    calls = [e for e in events if isinstance(e, ToolCall)]
    assert [(c.name, c.arguments) for c in calls] == [("clock", "{}")]
    assert any(isinstance(e, TurnMeasured) and e.latency.ttfa_ms for e in events)


async def test_a_tool_and_its_answer_take_part_in_the_memory() -> None:
    def script(messages: list[Message]) -> list[str | ToolRequest]:
        if messages[-1].role == "tool":
            return ["It is ", messages[-1].content, "."]
        return [ToolRequest("call-1", "clock", "{}")]

    session = TurnSession(
        cascade_of(FakeLlm(script=script)), FakeVad(), FakeTurnDetector(), TurnSettings()
    )

    def answer(event: object) -> None:
        if isinstance(event, ToolCall):
            session.tool_result("unknown", "ignored")
            session.tool_result(event.call_id, "four")

    await talk(session, word("hello", 400), silence(3000), on_event=answer)
    remembered = session.memory.messages()
    assert [m.role for m in remembered] == ["user", "assistant", "tool", "assistant"]
    assert remembered[-1].content == "It is four."


async def test_a_language_model_that_dies_keeps_what_was_said_and_the_next_turn_works() -> None:
    llm = FakeLlm("One two three four five. Six seven eight nine ten.", fail_after=7)
    session = TurnSession(cascade_of(llm), FakeVad(), FakeTurnDetector(), TurnSettings())

    def mend(event: object) -> None:
        if isinstance(event, SessionError):
            llm.fail_after = None

    events = await talk(
        session, word("hello", 400), silence(4000), word("what", 400), silence(6000), on_event=mend
    )
    assert [e.stage for e in events if isinstance(e, SessionError)] == ["llm"]
    measured = [e.latency for e in events if isinstance(e, TurnMeasured)]
    assert len(measured) == 2
    assert measured[1].ttfa_ms is not None


async def test_a_reply_that_cannot_be_spoken_is_an_error_and_not_a_silence() -> None:
    session = TurnSession(
        cascade_of(FakeLlm("\U0001f30d \U0001f30d **")),
        FakeVad(),
        FakeTurnDetector(),
        TurnSettings(),
    )
    events = await talk(session, word("hello", 400), silence(3000))
    errors = [e for e in events if isinstance(e, SessionError)]
    assert [e.stage for e in errors] == ["llm"]
    assert "nothing in it that can be spoken" in errors[0].message


async def test_a_voice_that_fails_is_reported_as_such() -> None:
    session = TurnSession(
        cascade_of(tts=FakeTts(fail_on="four")), FakeVad(), FakeTurnDetector(), TurnSettings()
    )
    events = await talk(session, word("hello", 400), silence(3000))
    assert [e.stage for e in events if isinstance(e, SessionError)] == ["tts"]


async def test_warming_up_makes_two_whole_replies_and_leaves_no_memory() -> None:
    llm, tts = FakeLlm(), FakeTts()
    cascade = cascade_of(llm, tts)
    await cascade.warm_up()
    assert len(llm.prompts) == 2
    assert len(tts.spoken) >= 2
    await cascade.close()
