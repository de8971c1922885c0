"""Client events for Hypothesis: right, nearly right, and nothing of the kind."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import strategies as st

from backtalk.realtime.client_events import HANDLERS
from backtalk.realtime.session_config import VENDOR_INCLUDES

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXT,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ITEM_IDS = st.sampled_from(["one", "two", "root", "LAST", "call_1"])
"""`LAST` stands for the last item the client was told of."""
AUDIO = st.one_of(
    st.sampled_from([0.0, 0.22, 0.3]).flatmap(
        lambda level: st.sampled_from([480, 2400, 9600]).map(lambda size: tone(level, size))
    ),
    st.binary(max_size=50).map(lambda data: base64.b64encode(data).decode()),
)


def tone(level: float, samples: int) -> str:
    """A constant level as the protocol's audio."""
    sample = round(level * 32767).to_bytes(2, "little", signed=True)
    return base64.b64encode(sample * samples).decode()


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with a few of these fields."""
    names = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({n: fields[n] for n in chosen}))


def nearly(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what is wanted."""
    return st.integers(0, 29).flatmap(lambda n: JSON if n == 17 else good)


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return nearly(st.sampled_from(values))


FORMAT = nearly(
    some(
        type=one_of("audio/pcm", "audio/pcmu", "audio/pcma"),
        rate=one_of(24000, 8000),
    )
)
TURN_DETECTION = st.none() | nearly(
    some(
        type=one_of("server_vad", "semantic_vad"),
        threshold=nearly(st.floats(0, 1)),
        prefix_padding_ms=nearly(st.integers(0, 6000)),
        silence_duration_ms=nearly(st.integers(0, 2000)),
        idle_timeout_ms=nearly(st.integers(50, 5000)),
        eagerness=one_of("low", "medium", "high", "auto"),
        create_response=nearly(st.booleans()),
        interrupt_response=nearly(st.booleans()),
    )
)
TOOLS = nearly(
    st.lists(
        some(type=one_of("function", "mcp"), name=nearly(TEXT), parameters=JSON, function=JSON),
        max_size=2,
    )
)
MODALITIES = one_of(["audio"], ["text"], ["audio", "text"], [])
CONTENT = nearly(
    st.lists(
        some(
            type=one_of("input_text", "input_audio", "output_text", "output_audio"),
            text=nearly(TEXT),
            audio=nearly(AUDIO),
            transcript=nearly(TEXT),
        ),
        max_size=2,
    )
    | TEXT.map(lambda text: [{"type": "input_text", "text": text}])
)
MESSAGE = st.fixed_dictionaries(
    {
        "type": st.just("message"),
        "role": one_of("user", "user", "assistant", "system"),
        "content": CONTENT,
    },
    optional={"id": nearly(ITEM_IDS)},
)
CALL = some(
    type=one_of("function_call", "function_call_output"),
    id=nearly(ITEM_IDS),
    call_id=nearly(st.sampled_from(["call_1", "one"])),
    name=nearly(TEXT),
    arguments=nearly(TEXT),
    output=nearly(TEXT),
)
ITEM = nearly(MESSAGE | MESSAGE | CALL)
SESSION = nearly(
    some(
        type=one_of("realtime", "transcription"),
        instructions=nearly(TEXT),
        output_modalities=MODALITIES,
        tools=TOOLS,
        tool_choice=one_of("auto", "none", "required", {"type": "function", "name": "x"}),
        max_output_tokens=one_of(1, 4096, "inf", 0),
        temperature=one_of(0, 0.8, 3),
        include=nearly(st.lists(st.sampled_from(VENDOR_INCLUDES), max_size=4)),
        audio=nearly(
            some(
                input=nearly(
                    some(
                        format=FORMAT,
                        transcription=JSON,
                        noise_reduction=JSON,
                        turn_detection=TURN_DETECTION,
                    )
                ),
                output=nearly(some(format=FORMAT, voice=JSON, speed=one_of(0.25, 1, 2))),
            )
        ),
        # The beta's names.
        modalities=MODALITIES,
        voice=JSON,
        input_audio_format=one_of("pcm16", "g711_ulaw"),
        output_audio_format=one_of("pcm16", "g711_alaw"),
        turn_detection=TURN_DETECTION,
    )
)
RESPONSE = nearly(
    some(
        conversation=one_of("auto", "none"),
        input=nearly(st.lists(nearly(ITEM | some(type=st.just("item_reference"), id=ITEM_IDS)))),
        instructions=nearly(TEXT),
        output_modalities=MODALITIES,
        metadata=nearly(st.dictionaries(TEXT, JSON, max_size=2)),
        tools=TOOLS,
        max_output_tokens=one_of(1, "inf"),
    )
)
FIELDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "session.update": st.fixed_dictionaries({"session": SESSION}),
    "input_audio_buffer.append": st.fixed_dictionaries({"audio": nearly(AUDIO)}),
    "conversation.item.create": st.fixed_dictionaries(
        {"item": ITEM}, optional={"previous_item_id": nearly(ITEM_IDS)}
    ),
    "conversation.item.retrieve": st.fixed_dictionaries({"item_id": nearly(ITEM_IDS)}),
    "conversation.item.delete": st.fixed_dictionaries({"item_id": nearly(ITEM_IDS)}),
    "conversation.item.truncate": st.fixed_dictionaries(
        {
            "item_id": nearly(st.just("LAST") | ITEM_IDS),
            "audio_end_ms": nearly(st.integers(0, 3000)),
        },
        optional={"content_index": one_of(0, 1)},
    ),
    "response.create": some(response=RESPONSE),
    "response.cancel": some(response_id=nearly(TEXT)),
    "backtalk.playout": st.fixed_dictionaries(
        {"item_id": nearly(st.just("LAST")), "played_ms": nearly(st.integers(0, 5000))}
    ),
}
OFTEN = ["input_audio_buffer.append", "conversation.item.create", "response.create"]
KINDS = nearly(st.sampled_from([*sorted(HANDLERS), *OFTEN, *OFTEN]))


@st.composite
def client_events(draw: st.DrawFn) -> dict[str, Any]:
    """One client event, or something like it."""
    kind = draw(KINDS)
    known = FIELDS.get(kind) if isinstance(kind, str) else None
    fields = draw(st.dictionaries(TEXT, JSON, max_size=3) if known is None else nearly(known))
    fields = fields if isinstance(fields, dict) else {}
    return {**draw(some(event_id=nearly(TEXT))), **fields, "type": kind}
