"""How much of a reply the listener has heard, from what was sent and what they report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Playout:
    """The listener's loudspeaker as the session sees it, for one reply.

    Without reports it is taken to play what it gets at once and without gaps. A report
    (`report`) replaces that guess; between reports the guess runs on from the last one.

    Args:
        sample_rate: Hz of the reply.
    """

    sample_rate: int
    sent_samples: int = 0
    underruns: int = 0
    _ends_s: float = 0.0
    _report_s: float | None = None
    _reported_samples: int = 0

    def sent(self, samples: int, at_s: float) -> None:
        """Note a piece that went out."""
        if self.sent_samples and at_s > self._ends_s + 0.005:
            self.underruns += 1
        self._ends_s = max(self._ends_s, at_s) + samples / self.sample_rate
        self.sent_samples += samples

    def report(self, played_samples: int, at_s: float) -> None:
        """The listener says how far it has played; going back or beyond what was sent is cut."""
        played = min(max(played_samples, self._reported_samples), self.sent_samples)
        self._reported_samples, self._report_s = played, at_s

    def heard_samples(self, at_s: float) -> int:
        """Samples that have come out of the loudspeaker by `at_s`."""
        if self._report_s is None:
            unplayed = max(0.0, self._ends_s - at_s) * self.sample_rate
            return max(0, self.sent_samples - round(unplayed))
        since = max(0.0, at_s - self._report_s) * self.sample_rate
        return min(self.sent_samples, self._reported_samples + round(since))

    def unplayed_s(self, at_s: float) -> float:
        """Seconds of audio sent and not heard."""
        return (self.sent_samples - self.heard_samples(at_s)) / self.sample_rate

    def rewind(self, at_s: float) -> int:
        """The listener drops what it has not played. Returns the sample to go on from."""
        heard = self.heard_samples(at_s)
        self.sent_samples = heard
        self._ends_s = at_s
        self._reported_samples = min(self._reported_samples, heard)
        if self._report_s is not None:
            self._report_s, self._reported_samples = at_s, heard
        return heard

    def resumed(self, at_s: float) -> None:
        """Playing goes on at `at_s`: the silence since `rewind` was no underrun."""
        self._ends_s = max(self._ends_s, at_s)
