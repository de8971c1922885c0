"""Every bound on what a client may ask, in one place.

Limits of real-time media are not those of web requests: a client that speaks sends 50 messages a
second for an hour. Audio is limited by how much of it there is, everything else by count and size.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes and how long it waits.

    Messages:
        message_bytes: of one WebSocket message. OpenAI clients may append whole recordings at once.
        json_depth, json_keys: of one event.
        text_chars: of instructions or one text item.
        tools: declared in one session.
        items: kept in a conversation; older ones are dropped.

    Audio:
        append_ms: longest audio in one append.
        audio_burst_s, audio_rate: audio may come this much ahead of real time, and be this many
            times as fast as real time after that.
        empty_appends: in a row, before the connection is closed.

    Rates:
        events_per_s, event_burst: of everything that is not audio.

    Time:
        handshake_s: from connecting to the end of the handshake.
        ping_s: between pings, and the longest wait for an answer.
        idle_s: without any audio or event from the client.
        session_s: longest session.
        resume_s: how long a session waits for its client to come back.

    Sending:
        unacknowledged_ms: audio of replies sent to a client that it has not been seen to receive.
        live_unacknowledged_ms: the same of a system that keeps time with its input, whose audio is
            stale when it comes late.
        stalled_s: a client that has not received anything for so long is closed.
        replay_events: sent events kept for a client that comes back.

    Who:
        sessions: at once on this server.
        sessions_per_address, sessions_per_token: at once for one client.
        failed_logins_per_min: from one address.
        secret_s: default life of an ephemeral secret; 10 to 7200 may be asked for.
        secrets: alive at once.
        drain_s: how long running turns may take when the server stops.
    """

    message_bytes: int = 1 << 20
    json_depth: int = 24
    json_keys: int = 2048
    text_chars: int = 32_000
    tools: int = 64
    items: int = 512

    append_ms: int = 15_000
    audio_burst_s: float = 20.0
    audio_rate: float = 1.25
    empty_appends: int = 20

    events_per_s: float = 20.0
    event_burst: int = 80

    handshake_s: float = 5.0
    ping_s: float = 5.0
    idle_s: float = 300.0
    session_s: float = 3600.0
    resume_s: float = 60.0

    unacknowledged_ms: int = 2000
    live_unacknowledged_ms: int = 800
    stalled_s: float = 10.0
    replay_events: int = 4096

    sessions: int = 64
    sessions_per_address: int = 64
    sessions_per_token: int = 64
    failed_logins_per_min: int = 5
    secret_s: int = 600
    secrets: int = 4096
    drain_s: float = 10.0
