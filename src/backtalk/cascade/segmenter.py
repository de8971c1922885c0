"""Cuts a reply into chunks worth speaking while it is still being written."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from backtalk.cascade.speakable_words import is_abbreviation
from backtalk.errors import ConfigError


class _End(IntEnum):
    """What comes to an end with a word."""

    NEVER = 0  # the next word belongs to it: "Dr.", "5", "="
    WORD = 1
    CLAUSE = 2
    SENTENCE = 3


@dataclass(frozen=True, slots=True)
class _Boundary:
    position: int
    words: float
    end: _End


_SENTENCE_MARKS = "!?\u3002\uff01\uff1f\uff0e"
_CLAUSE_MARKS = ",;:\u2014\u2026\u3001\uff0c\uff1b\uff1a"
_DASHES = "-\u2013\u2014"
_MARKS = _SENTENCE_MARKS + _CLAUSE_MARKS + _DASHES + "."
# After these no space is written, yet something ends; closing quotes still belong to it.
_UNSPACED_MARKS = "\u3002\uff01\uff1f\uff0e\u3001\uff0c\uff1b\uff1a\u2014\u2026"
_UNSPACED_CLOSERS = "\u300d\u300f\uff09\u201d\u2019\u3011"
_OPENERS = "\"'\u201c\u2018($\u00a3\u20ac"
_JOINERS = "\u200d\ufe0e\ufe0f"

# A forced cut after one of these sounds broken; the next word or the one after is a better place.
_LEANING_TEXT = (
    "a an the of to in on at for with from by and or but my your his her its our their is are was"
    " were be that this as if not very"
)
_LEANING = frozenset(_LEANING_TEXT.split())
_LEANING_WORDS = 2
# A run without spaces this many times longer than a chunk is cut anywhere.
_LONGEST_RUN = 4


class ClauseSegmenter:
    """Chunks are clauses at first, so that speech starts early, and sentences later.

    Text is read one character at a time, so chunks do not depend on how it was cut into pushes.
    The first chunk goes out at the end of a sentence, at the end of a clause of `first_min_words`,
    or at a word's end after `first_max_words`; later ones at the end of a sentence or line. A chunk
    that outgrows `max_chars` is cut at its last clause, else at its last word, and where there are
    no spaces at a character. A word is whole only when something follows it, and nothing is cut
    between a number and its unit, after an abbreviation or within a link. Code blocks are left out;
    what holds no letter or digit joins the next chunk, or is left out at the end.

    Args:
        first_min_words: a first clause shorter than this waits for the next one.
        first_max_words: a first chunk longer than this does not wait for punctuation.
        min_words: a later sentence shorter than this joins the next one.
        max_chars: longest chunk, in characters.

    Raises:
        ConfigError: a limit makes no sense.
    """

    def __init__(
        self,
        first_min_words: int = 4,
        first_max_words: int = 8,
        min_words: int = 3,
        max_chars: int = 120,
    ) -> None:
        if not 1 <= first_min_words <= first_max_words or min_words < 1 or max_chars < 20:
            raise ConfigError(
                "segmenter: need 1 <= first_min_words <= first_max_words, min_words >= 1 and "
                f"max_chars >= 20, got first_min_words={first_min_words}, "
                f"first_max_words={first_max_words}, min_words={min_words}, max_chars={max_chars}"
            )
        self._first_min_words = first_min_words
        self._first_max_words = first_max_words
        self._min_words = min_words
        self._max_chars = max_chars
        self._reset()

    def _reset(self) -> None:
        self._chunks: list[str] = []
        self._is_first = True
        self._pending: list[str] = []
        self._boundaries: list[_Boundary] = []
        self._words = 0.0
        self._word_start: int | None = None
        self._last_word = ""
        self._starts_line = True
        self._after_unspaced_mark = False
        self._in_link = False
        self._in_code = False
        self._backticks = 0

    def push(self, text: str) -> list[str]:
        """Add text of any length; return the chunks that are now complete."""
        for character in text:
            self._read(character)
        return self._take_chunks()

    def flush(self) -> list[str]:
        """Return what is left, and be ready for another reply."""
        self._end_word()
        if self._words:
            self._cut(len(self._pending), self._words)
        chunks = self._take_chunks()
        self._reset()
        return chunks

    def _take_chunks(self) -> list[str]:
        chunks, self._chunks = self._chunks, []
        return chunks

    def _read(self, character: str) -> None:
        if character == "`":
            self._backticks += 1
            if self._backticks == 3:
                self._toggle_code()
            if self._backticks >= 3 or self._in_code:
                return
        else:
            self._backticks = 0
            if self._in_code:
                return
        if character.isspace():
            self._read_space(character)
        else:
            self._read_letter(character)

    def _toggle_code(self) -> None:
        while self._pending and self._pending[-1] == "`":
            self._pending.pop()
        if self._word_start is not None and self._word_start >= len(self._pending):
            self._word_start = None
        if not self._in_code:
            self._read_space("\n")
        self._in_code = not self._in_code

    def _read_space(self, space: str) -> None:
        end = self._end_word()
        if space == "\n":
            self._in_link = False
            self._starts_line = True
            end = _End.SENTENCE
        self._consider(end)
        if self._pending:
            self._pending.append(space)

    def _read_letter(self, letter: str) -> None:
        if self._word_start is None:
            self._cut_overlong_start(letter)
            self._word_start = len(self._pending)
        elif self._after_unspaced_mark and letter not in _UNSPACED_MARKS + _UNSPACED_CLOSERS:
            self._consider(self._end_word())
            self._word_start = len(self._pending)
        if letter in _UNSPACED_MARKS:
            self._after_unspaced_mark = True
        elif letter not in _UNSPACED_CLOSERS:
            self._after_unspaced_mark = False
        if letter == "[":
            self._in_link = True
        elif letter == "]":
            self._in_link = False
        if len(self._pending) >= self._max_chars:
            self._shorten(letter)
        self._pending.append(letter)

    def _end_word(self) -> _End:
        """Close the word in progress, if any, and say what else it ends."""
        if self._word_start is None:
            return _End.NEVER
        word = "".join(self._pending[self._word_start :])
        end = self._end_of(word)
        self._words += _count_words(word)
        self._word_start = None
        self._after_unspaced_mark = False
        self._starts_line = False
        self._last_word = word
        self._boundaries.append(_Boundary(len(self._pending), self._words, end))
        return end

    def _end_of(self, word: str) -> _End:
        core = word
        while core and not (core[-1].isalnum() or core[-1] in _MARKS):
            core = core[:-1]
        if not core:
            return _End.NEVER
        last = core[-1]
        if last in _SENTENCE_MARKS:
            return _End.SENTENCE
        if last == ".":
            return self._end_of_stop(core)
        if last in _CLAUSE_MARKS or core.endswith("--"):
            return _End.CLAUSE
        if last in _DASHES:
            # A dash between words, but neither a bullet nor the middle of "3 - 5".
            is_pause = core == last and not self._starts_line and not self._last_word[-1:].isdigit()
            return _End.CLAUSE if is_pause else _End.NEVER
        return _End.WORD if last.isalpha() else _End.NEVER

    def _end_of_stop(self, core: str) -> _End:
        if core.endswith(".."):
            return _End.CLAUSE
        while core and not core[0].isalnum():
            core = core[1:]
        if is_abbreviation(core):
            return _End.NEVER
        if self._starts_line and core[:-1].isdigit() and len(core) <= 4:
            return _End.NEVER  # the number of a list's item
        return _End.SENTENCE

    def _consider(self, end: _End) -> None:
        """Cut here if this is as good a place as any."""
        if self._in_link or not self._words:
            return
        if self._is_first:
            enough = 0 if end is _End.SENTENCE else self._first_min_words
        else:
            enough = self._min_words
            if end is not _End.SENTENCE:
                return
        if end >= _End.CLAUSE and self._words >= enough:
            self._cut(len(self._pending), self._words)

    def _cut_overlong_start(self, next_letter: str) -> None:
        """Do not let the first chunk wait for punctuation for ever."""
        if not self._is_first or self._in_link or self._words < self._first_max_words:
            return
        if not self._boundaries or self._boundaries[-1].end is _End.NEVER:
            return
        leans = self._last_word.lower() in _LEANING
        if leans and self._words < self._first_max_words + _LEANING_WORDS:
            return
        if next_letter.isalnum() or next_letter in _OPENERS:
            self._cut(len(self._pending), self._words)

    def _shorten(self, next_letter: str) -> None:
        """The chunk is as long as it may be: cut it at the best place there is."""
        for least, words in (
            (_End.CLAUSE, self._min_words),
            (_End.WORD, self._min_words),
            (_End.NEVER, 1),
        ):
            for boundary in reversed(self._boundaries):
                if boundary.end >= least and boundary.words >= words:
                    self._cut(boundary.position, boundary.words)
                    return
        if not any(map(str.isalnum, self._pending)):
            # Nothing but signs, more than any chunk could hold.
            self._cut(len(self._pending), self._words)
            self._word_start = 0
        elif self._may_break_before(next_letter):
            self._end_word()
            self._cut(len(self._pending), self._words)
            self._word_start = 0

    def _may_break_before(self, letter: str) -> bool:
        if len(self._pending) >= 2 * _LONGEST_RUN * self._max_chars:
            return True
        if unicodedata.category(letter)[0] == "M" or letter in _JOINERS:
            return False
        if self._pending[-1] in _JOINERS:
            return False
        if len(self._pending) >= _LONGEST_RUN * self._max_chars:
            return True
        return not (letter.isascii() and self._pending[-1].isascii())

    def _cut(self, position: int, words: float) -> None:
        chunk = "".join(self._pending[:position]).strip()
        if any(map(str.isalnum, chunk)):
            self._chunks.append(chunk)
            self._is_first = False
        while position < len(self._pending) and self._pending[position].isspace():
            position += 1
        self._pending = self._pending[position:]
        self._words -= words
        self._boundaries = [
            _Boundary(later.position - position, later.words - words, later.end)
            for later in self._boundaries
            if later.position > position
        ]
        if self._word_start is not None:
            self._word_start = max(0, self._word_start - position)


def _count_words(word: str) -> float:
    """Words in a run without spaces: one, or one for every two characters of unspaced scripts."""
    if word.isascii():
        return 1.0 if any(map(str.isalnum, word)) else 0.0
    unspaced = sum(1 for character in word if character.isalnum() and _is_unspaced(character))
    if unspaced:
        return max(1.0, unspaced / 2)
    return 1.0 if any(map(str.isalnum, word)) else 0.0


def _is_unspaced(character: str) -> bool:
    """Chinese, Japanese, Thai and their neighbours, which put no spaces between words."""
    return "\u0e00" <= character <= "\u0eff" or "\u3040" <= character <= "\u9fff"


def build_clause_segmenter(store: Any = None, **options: Any) -> ClauseSegmenter:
    """The `clauses` segmenter; `options` are those of `ClauseSegmenter`.

    Args:
        store: not needed; every builder is given the model store.

    Raises:
        ConfigError: an option is unknown or makes no sense.
    """
    try:
        return ClauseSegmenter(**options)
    except TypeError as error:
        raise ConfigError(
            f"segmenter clauses: {error}; it knows first_min_words, first_max_words, min_words "
            "and max_chars"
        ) from error
