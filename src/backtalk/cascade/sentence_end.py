"""Would the language model end the sentence here, or go on with it?

A model that has read "What is the capital" puts nearly all of its probability on " of"; after
"What is the capital of France" it puts it on a question mark. So the model that is about to answer
a turn can also say whether the turn's words are all there, at the price of one token on a prompt it
has to read anyway.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from backtalk.session.memory import Message

# Recognisers put marks at the end of whatever they are given; the model must choose its own.
_TRAILING_MARKS = re.compile(r"[\s.?!,;:…-]+$")
_ENDS = re.compile(r"\s*(?:[.?!]|\n|<\||$)")


def without_end(words: str) -> str:
    """The words without the marks that a recogniser put after them."""
    return _TRAILING_MARKS.sub("", words)


def open_prompt(template: str, messages: Sequence[Message]) -> str | None:
    """The chat prompt up to the last word of the last message, which is left open.

    Args:
        template: the model's chat template (Jinja, as in its GGUF file).
        messages: the conversation; the last one is the user's.
    Returns:
        None if the template cannot be rendered, or changes the user's words.
    """
    from jinja2 import TemplateError

    words = without_end(messages[-1].content)
    turns = [{"role": message.role, "content": message.content} for message in messages[:-1]]
    turns.append({"role": messages[-1].role, "content": words})
    try:
        prompt = _compiled(template).render(
            messages=turns, add_generation_prompt=False, bos_token="", eos_token=""
        )
    except TemplateError:
        return None
    end = prompt.rfind(words)
    return prompt[: end + len(words)] if words and end >= 0 else None


@functools.lru_cache(4)
def _compiled(template: str) -> Any:
    """Compiling takes longer than rendering, 4 ms."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)


def end_probability(choices: Iterable[dict[str, Any]]) -> float:
    """Probability that the next token ends the sentence or the message.

    Args:
        choices: the most likely next tokens, each with `token` and `logprob`.
    """
    return min(
        1.0,
        sum(math.exp(choice["logprob"]) for choice in choices if _ENDS.match(choice["token"])),
    )
