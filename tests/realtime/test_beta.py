"""The protocol's first dialect: every name has its counterpart, both ways."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from test_realtime_session import QUESTION, client_of

from backtalk.errors import ProtocolError
from backtalk.realtime import beta
from backtalk.realtime.limits import Limits
from backtalk.realtime.session_config import SessionConfig
from backtalk.session.settings import TurnSettings
from fakes import silence

FLAT: dict[str, Any] = {
    "modalities": ["text"],
    "voice": "alloy",
    "input_audio_format": "g711_ulaw",
    "output_audio_format": "g711_alaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "input_audio_noise_reduction": {"type": "near_field"},
    "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
    "max_response_output_tokens": 99,
    "instructions": "Be kind.",
    "speed": 1.25,
    "temperature": 0.8,
}


def effective(flat: dict[str, Any]) -> SessionConfig:
    """The session object after one flat update."""
    config = SessionConfig("sess_1", "echo", TurnSettings(), Limits())
    event = beta.client_event_to_ga({"type": "session.update", "session": flat})
    config.update(event["session"])
    return config


def test_every_field_of_a_flat_session_finds_its_place() -> None:
    json = effective(FLAT).json
    heard, spoken = json["audio"]["input"], json["audio"]["output"]
    assert json["output_modalities"] == ["text"]
    assert (json["instructions"], json["max_output_tokens"]) == ("Be kind.", 99)
    assert json["temperature"] == 0.8
    assert heard["format"] == {"type": "audio/pcmu"}
    assert spoken["format"] == {"type": "audio/pcma"}
    assert (spoken["voice"], spoken["speed"]) == ("alloy", 1.25)
    assert heard["transcription"] == {"model": "whisper-1"}
    assert heard["noise_reduction"] == {"type": "near_field"}
    assert heard["turn_detection"]["silence_duration_ms"] == 300


def test_a_flat_session_is_told_back_as_it_was_asked_for() -> None:
    told = beta.server_event_to_beta(
        {"type": "session.updated", "session": {**effective(FLAT).json, "expires_at": 1}}
    )
    assert told is not None
    for name in (
        "modalities",
        "voice",
        "input_audio_format",
        "output_audio_format",
        "input_audio_transcription",
        "max_response_output_tokens",
        "instructions",
    ):
        assert told["session"][name] == FLAT[name]
    assert not {"audio", "type", "output_modalities", "max_output_tokens"} & set(told["session"])


@pytest.mark.parametrize("name", ["turn_detection", "input_audio_transcription"])
def test_null_means_none_and_not_the_default(name: str) -> None:
    config = effective({name: None})
    heard = config.json["audio"]["input"]
    assert heard[name.removeprefix("input_audio_")] is None


def test_a_flat_update_leaves_alone_what_it_does_not_name() -> None:
    config = effective(FLAT)
    event = {"type": "session.update", "session": {"voice": "echo"}}
    config.update(beta.client_event_to_ga(event)["session"])
    assert config.json["audio"]["output"]["voice"] == "echo"
    assert config.json["audio"]["output"]["format"] == {"type": "audio/pcma"}
    assert config.json["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 300


@pytest.mark.parametrize("name", sorted(set(FLAT) - {"instructions", "speed", "temperature"}))
def test_an_update_with_a_field_of_its_own_gives_the_dialect_away(name: str) -> None:
    is_told = name != "input_audio_noise_reduction"
    event = {"type": "session.update", "session": {name: FLAT[name]}}
    assert beta.is_beta_event(event) == is_told


@pytest.mark.parametrize(
    "event",
    [
        {"type": "session.update", "session": {"type": "realtime", "audio": {}}},
        {"type": "session.update", "session": {"instructions": "x"}},
        {"type": "session.update", "session": ["voice"]},
        {"type": "session.update"},
        {"type": "response.create", "response": {"modalities": ["text"]}},
        {},
    ],
)
def test_nothing_else_gives_it_away(event: dict[str, Any]) -> None:
    assert not beta.is_beta_event(event)


@pytest.mark.parametrize("name", ["session.update", "response.create"])
@pytest.mark.parametrize("value", [None, 7, "text", [], [{}]])
def test_what_is_no_object_is_passed_on_to_be_refused(name: str, value: Any) -> None:
    field = "session" if name == "session.update" else "response"
    assert beta.client_event_to_ga({"type": name, field: value})[field] == value


def test_a_transcription_session_is_a_session_of_that_type() -> None:
    event = {"type": "transcription_session.update", "session": {"turn_detection": None}}
    told = beta.client_event_to_ga(event)
    assert (told["type"], told["session"]["type"]) == ("session.update", "transcription")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ProtocolError, match="format"):
        effective({"input_audio_format": "opus"})


async def test_a_spoken_turn_has_only_the_betas_names_in_it() -> None:
    async with client_of() as client:
        await client.speak(*QUESTION, silence(2500))
        await asyncio.sleep(0)
        told = [beta.server_event_to_beta(event) for event in client.events]
    kinds = [event["type"] for event in told if event is not None]
    for kind in (
        "response.audio.delta",
        "response.audio.done",
        "response.audio_transcript.delta",
        "response.audio_transcript.done",
    ):
        assert kind in kinds
    assert kinds.count("conversation.item.created") == 2
    names = orjson.dumps([event for event in told if event is not None]).decode()
    for name in ("response.output_", '"output_modalities"', '"output_audio"', "item.done"):
        assert name not in names.replace("response.output_item.", "")
