"""Is this the right answer?"""

from __future__ import annotations

from backtalk.scorers.spoken_words import NUMBER_WORDS, spoken_words


def is_right(heard: str, key: str) -> bool:
    """Whether what was heard answers with `key`.

    The words of the key must follow each other in the answer proper: what stands behind the first
    `is`, or all of it if there is none. So a number that only repeats the question does not count
    (`two plus zero is seven` does not answer `two`), and a number that is part of another one
    neither (`twenty two` does not answer `two`).

    Args:
        heard: what a recogniser made of the reply.
        key: `Turn.key` of the question.
    """
    words, wanted = _answer_proper(spoken_words(heard)), spoken_words(key)
    is_number = set(wanted) <= NUMBER_WORDS | {"and"}
    for at in range(len(words) - len(wanted) + 1):
        if words[at : at + len(wanted)] != wanted:
            continue
        beside = words[max(0, at - 1) : at] + words[at + len(wanted) :][:1]
        if not (is_number and NUMBER_WORDS.intersection(beside)):
            return True
    return False


def _answer_proper(words: list[str]) -> list[str]:
    return words[words.index("is") + 1 :] if "is" in words else words
