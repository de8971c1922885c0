"""The teacher that needs no download: voices out of packages, kept in step by construction.

Nothing is converted. The target is planned sound by sound (`target_voice.py`), and then

- the same plan is said by other bodies: other resonances, tilt, breath and pitch;
- Joe says the same sentence in the plan's own time (`timed_voice.py`), as a larger or smaller man,
  and the target is said with his melody.

Either way the target is what hibari says, not what a converter made of it, and the two are aligned.
That a voice works for these speakers does not show that it works for everybody: score it on
recordings of others, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np

from backtalk.models.store import ModelStore
from backtalk.train.conversion.melody import followed, track_pitch
from backtalk.train.conversion.target_voice import (
    FRAME_S,
    PITCH_HZ,
    Body,
    Sentence,
    TargetVoice,
    say,
)
from backtalk.train.conversion.teacher import Pair, ShardPlan
from backtalk.train.conversion.texts import draw_text
from backtalk.train.conversion.timed_voice import NAME as JOE
from backtalk.train.conversion.timed_voice import TimedVoice
from backtalk.train.minitalk.answer_voice import NAME
from backtalk.train.minitalk.voices import seed_of

BODY = "body"
_PEAK = 0.6
_LONGEST_S = 8.0


@dataclass(frozen=True, slots=True)
class SpokenTeacher:
    """See above.

    Attributes:
        joe_share: of the pairs, heard from Joe; the others from bodies.
    """

    joe_share: float = 0.5

    @property
    def target(self) -> str:
        """See `Teacher`."""
        return f"hibari {NAME} (Apache-2.0)"

    @property
    def samples(self) -> str:
        """See `Teacher`."""
        return f"spoken, joe_share {self.joe_share}"

    def pairs(self, plan: ShardPlan) -> Iterator[Pair]:
        """See `Teacher`."""
        target = TargetVoice()
        joe = TimedVoice(ModelStore.default().require("piper-joe"), seed_of(plan.seed, plan.name))
        number = 0
        while True:
            random = Random(f"{plan.seed}:{plan.name}:{number}")
            number += 1
            text = draw_text(random, plan.split)
            sentence = target.plan(text, random.uniform(0.9, 1.2))
            if len(sentence.pitch_hz) * FRAME_S > _LONGEST_S:
                continue
            noise = np.random.default_rng(random.getrandbits(63))
            if random.random() < self.joe_share:
                made = _heard_from_joe(joe, sentence, text, random, noise)
            else:
                made = _heard_from_body(sentence, random, noise)
            if made is not None:
                voice, heard, said = made
                yield Pair(_at_peak(heard), _at_peak(said), voice, text)


Made = tuple[str, np.ndarray, np.ndarray]


def _heard_from_joe(
    joe: TimedVoice, sentence: Sentence, text: str, random: Random, noise: np.random.Generator
) -> Made | None:
    heard = joe.say(text, sentence.sounds, sentence.samples, random.uniform(0.8, 1.12))
    if heard is None:
        return None
    melody = followed(track_pitch(heard, len(sentence.pitch_hz)), sentence.pitch_hz)
    return None if melody is None else (JOE, heard, say(sentence, noise, melody))


def _heard_from_body(sentence: Sentence, random: Random, noise: np.random.Generator) -> Made:
    is_octave_below = random.random() < 0.5
    melody = sentence.pitch_hz
    if random.random() < 0.6:
        melody = _another_melody(melody, random)
        said = say(sentence, noise, melody)
    else:
        said = say(sentence, noise)
    body = Body(
        formants=random.uniform(0.76, 0.95) if is_octave_below else random.uniform(0.8, 1.22),
        tilt_db=random.uniform(-12.0, 12.0),
        breath_db=random.uniform(-6.0, 9.0),
    )
    heard = say(sentence, noise, melody / 2 if is_octave_below else melody, body)
    return BODY, heard, said


def _another_melody(pitch_hz: np.ndarray, random: Random) -> np.ndarray:
    """Higher or lower, and livelier or flatter."""
    height = np.exp(random.uniform(np.log(0.78), np.log(1.3)))
    range_ = random.uniform(0.5, 1.4)
    safe = np.maximum(pitch_hz, 1.0) / PITCH_HZ
    found: np.ndarray = np.where(pitch_hz > 0, PITCH_HZ * height * safe**range_, 0.0)
    return found.astype(np.float32)


def _at_peak(pcm: np.ndarray) -> np.ndarray:
    return pcm * np.float32(_PEAK / max(float(np.abs(pcm).max()), 1e-6))
