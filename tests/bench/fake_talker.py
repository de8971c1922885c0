"""A minimal Realtime server that answers speech with a tone, in the order real servers keep."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection

from bench.fake_realtime import FakeRealtime

RATE = 24000
TONE = (0.3 * np.sin(np.arange(RATE) * 0.1)).astype(np.float32)


def pcm16(pcm: np.ndarray) -> str:
    return base64.b64encode((pcm * 32767).astype("<i2").tobytes()).decode()


@dataclass
class FakeTalker(FakeRealtime):
    """Takes 300 ms below a level for the end of a turn, and answers `answer_s` later.

    Attributes:
        lead_s: silence before the tone.
        stages_ms: what `backtalk.turn.measured` says, None to refuse to say anything.
        fails: answers that fail instead.
    """

    answer_s: float = 0.2
    lead_s: float = 0.0
    stages_ms: dict[str, float] | None = None
    fails: bool = False
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def _serve(self, socket: ServerConnection, session: int) -> None:
        async def say(name: str, **fields: Any) -> None:
            await socket.send(json.dumps({"type": name, "event_id": "event_1", **fields}))

        await say("session.created", session={})
        speaking, silent_ms, turn = False, 0.0, 0
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "session.update":
                self.asked.append(event["session"])
                if "include" in event["session"] and self.stages_ms is None:
                    error = {"code": "invalid_value", "message": "?", "event_id": event["event_id"]}
                    await say("error", error=error)
                continue
            pcm = np.frombuffer(base64.b64decode(event["audio"]), "<i2")
            if np.abs(pcm).max(initial=0) > 1000:
                if not speaking:
                    await say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="i")
                speaking, silent_ms = True, 0.0
            elif speaking:
                silent_ms += len(pcm) * 1000 / RATE
                if silent_ms >= 300:
                    speaking, turn = False, turn + 1
                    await asyncio.sleep(self.answer_s)
                    await self._answer(say, f"resp_{turn}")

    async def _answer(self, say: Any, response_id: str) -> None:
        heard = "conversation.item.input_audio_transcription.completed"
        await say(heard, item_id="i", transcript="what time is it")
        await say("response.created", response={"id": response_id})
        if self.fails:
            failed = {"error": {"code": "server_error", "message": "no model"}}
            done = {"id": response_id, "status": "failed", "status_details": failed}
            await say("response.done", response=done)
            return
        ids = {"response_id": response_id, "item_id": "j"}
        await say("response.output_audio_transcript.delta", **ids, delta="It is four.")
        sound = np.concatenate([np.zeros(round(self.lead_s * RATE)), TONE[: RATE // 2]])
        for at in range(0, len(sound), 2400):
            await say("response.output_audio.delta", **ids, delta=pcm16(sound[at : at + 2400]))
        await say("response.done", response={"id": response_id, "status": "completed"})
        if self.stages_ms is not None:
            await say(
                "backtalk.turn.measured",
                **ids,
                ttfa_ms=sum(self.stages_ms.values()),
                stages_ms=self.stages_ms,
                rtf=0.25,
                barge_in_ms=None,
                underruns=0,
            )
