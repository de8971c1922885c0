"""Records conversations, only where whoever runs the server has asked for it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from pathlib import Path

import numpy as np

from backtalk.audio.recorder import ConversationRecorder
from backtalk.errors import AudioError
from backtalk.stream.clock import now_s
from backtalk.stream.events import Event, ReplyAudio, ReplyInterrupted, ReplyPaused

_log = logging.getLogger(__name__)
_writing: set[asyncio.Task[None]] = set()


class SessionRecording:
    """Observes one session and writes `DATE-TIME-RANDOM.wav` at its end: user left, agent right.

    Args:
        folder: where to.
        sample_rate_out: Hz of the agent's audio.
    """

    def __init__(self, folder: Path, sample_rate_out: int) -> None:
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}.wav"
        self.path = folder / name
        self._rate_out = sample_rate_out
        self._recorder = ConversationRecorder()
        self._user_until_s = 0.0
        self._agent_until_s = 0.0
        _log.info("this session is recorded to %s", self.path)

    def heard(self, pcm: np.ndarray, sample_rate: int) -> None:
        """Add what the user said; audio that came in one piece is laid out one after the other."""
        at_s = max(self._user_until_s, now_s() - len(pcm) / sample_rate)
        self._recorder.user(at_s, pcm, sample_rate)
        self._user_until_s = at_s + len(pcm) / sample_rate

    def event(self, event: Event) -> None:
        """Add what the agent says, when a listener without delay hears it."""
        match event:
            case ReplyAudio():
                at_s = max(self._agent_until_s, now_s())
                self._recorder.agent(at_s, event.pcm, self._rate_out)
                self._agent_until_s = at_s + len(event.pcm) / self._rate_out
            case ReplyPaused() | ReplyInterrupted():
                self._recorder.truncate_agent(now_s())
                self._agent_until_s = now_s()

    def closed(self) -> None:
        """Write the file, off the event loop."""
        if self._recorder.duration_s:
            task = asyncio.create_task(asyncio.to_thread(self._write))
            _writing.add(task)
            task.add_done_callback(_writing.discard)

    def _write(self) -> None:
        try:
            self._recorder.write(self.path)
        except AudioError as error:
            _log.error("%s", error)


async def finish_recordings() -> None:
    """Wait for all files to be written."""
    await asyncio.gather(*_writing)
