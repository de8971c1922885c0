"""When the phones of an answer are heard."""

from __future__ import annotations

from backtalk.train.minitalk.shard_file import Utterance
from backtalk.train.phone_times import SILENCE, PhoneTimes


def test_phones_lie_inside_the_words_they_belong_to() -> None:
    voice = PhoneTimes()
    text = "The red cup is here."
    spoken = voice.speak(text, 0).with_edges(0.2, 0.3)
    frames = int(spoken.duration_s * 100)
    labels = voice.labels(Utterance(text, spoken.duration_s, spoken.words), frames, 100.0)
    assert labels is not None
    assert len(labels) == frames
    assert set(labels[:15]) == {SILENCE}
    red = spoken.words[1]
    inside = {label for label in labels[round(100 * red.start_s) + 1 : round(100 * red.end_s) - 1]}
    assert {"d", "ɛ"} <= inside
    assert SILENCE not in inside


def test_an_answer_without_word_times_has_no_phones() -> None:
    assert PhoneTimes().labels(Utterance("Here it is.", 1.0, ()), 10, 25.0) is None
