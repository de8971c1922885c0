"""Whether a turn's words are all there, by the language model."""

from __future__ import annotations

import math

import pytest

from backtalk.cascade.llama_llm import build_llama_llm
from backtalk.cascade.prompt import SPOKEN_STYLE_PROMPT
from backtalk.cascade.protocols import LlmSettings
from backtalk.cascade.sentence_end import end_probability, open_prompt, without_end
from backtalk.models.store import ModelStore
from backtalk.session.memory import Message
from backtalk.stream.cancel import CancelToken

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    "heard", ["What is the", "What is the...", "What is the?", "What is the . "]
)
def test_marks_of_the_recogniser_are_left_off(heard: str) -> None:
    assert without_end(heard) == "What is the"


def test_the_prompt_stops_at_the_users_last_word() -> None:
    messages = [Message("system", "Be brief."), Message("user", "What is the?")]
    assert open_prompt(CHATML, messages) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is the"
    )


def test_a_template_that_fails_or_hides_the_words_gives_no_prompt() -> None:
    messages = [Message("user", "hello")]
    assert open_prompt("{{ raise_exception('no') }}", messages) is None
    assert open_prompt("{{ messages[0]['content'] | upper }}", messages) is None
    assert open_prompt(CHATML, [Message("user", "...")]) is None


def test_only_tokens_that_end_a_sentence_or_message_count() -> None:
    choices = [
        {"token": token, "logprob": math.log(probability)}
        for token, probability in [("?", 0.5), (" of", 0.3), (".", 0.1), ("<|im_end|>", 0.05)]
    ]
    assert end_probability(choices) == pytest.approx(0.65)
    assert end_probability([]) == 0.0


@pytest.mark.models
@pytest.mark.realtime
async def test_the_default_model_knows_where_sentences_can_end() -> None:
    llm = build_llama_llm(ModelStore.default())

    async def judge(words: str) -> float:
        messages = [Message("system", SPOKEN_STYLE_PROMPT), Message("user", words)]
        probability = await llm.end_probability(messages)
        assert probability is not None
        return probability

    for words in ("What is the capital", "What is the opposite of", "Please remind me to..."):
        assert await judge(words) < 0.15, words
    for words in ("What is the capital of France?", "What should I wear when it rains?"):
        assert await judge(words) > 0.4, words
    # It leaves the model ready to answer.
    reply = llm.reply(
        [Message("user", "What is the capital of France?")],
        LlmSettings(max_tokens=8),
        CancelToken(),
    )
    assert "".join([str(piece) async for piece in reply])
    await llm.close()
