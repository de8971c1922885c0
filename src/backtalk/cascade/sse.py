"""Server-sent events out of bytes, however the network cuts them."""

from __future__ import annotations

MAX_EVENT_BYTES = 1024 * 1024


class SseParser:
    """Collects the `data` of server-sent events.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6; event
    names, ids and comments are passed over.
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[str] = []
        self._data_bytes = 0
        self._after_return = False

    def feed(self, received: bytes) -> list[str]:
        """Take bytes of any number and return the data of the events they complete.

        Raises:
            ValueError: an event is longer than `MAX_EVENT_BYTES`.
        """
        events: list[str] = []
        if self._after_return and received[:1] == b"\n":
            received = received[1:]
            self._after_return = False
        if not received:
            return events
        self._after_return = received.endswith(b"\r")
        lines = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in lines[:-1]:
            self._line += line
            self._end_line(events)
        self._line += lines[-1]
        self._check_size()
        return events

    def _check_size(self) -> None:
        if len(self._line) + self._data_bytes > MAX_EVENT_BYTES:
            raise ValueError(f"an event is longer than {MAX_EVENT_BYTES} bytes")

    def _end_line(self, events: list[str]) -> None:
        self._check_size()
        line = bytes(self._line)
        self._line.clear()
        if not line:
            if self._data:
                events.append("\n".join(self._data))
            self._data, self._data_bytes = [], 0
            return
        name, _, value = line.partition(b":")
        if name.removeprefix(b"\xef\xbb\xbf") == b"data":
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
            self._data_bytes += len(line)
