"""The grammar: every kind of question that can be asked in MiniTalk, with its one right answer.

Sums and calendars are reasoning: a pair of operands, or a step from a day, may be held out and the
answer still follows from the others. Facts (capitals, colors, opposites, spelling, names) do not
follow from anything, so what is held out there is a word in a voice: the word was learnt from
other speakers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from num2words import num2words

from backtalk.train.minitalk import world
from backtalk.train.minitalk.turn import Dialogue, Turn

FOLLOW_UP_SHARE = 0.35
AGAIN_SHARE = 0.1
MAX_TURNS = 3

_Ask = Callable[[Random, str], Turn]
_GoOn = Callable[[Random, str, Turn], Turn]

STEPS = {
    "after": 1,
    "before": -1,
    "two after": 2,
    "two before": -2,
    "three after": 3,
}


def draw_dialogue(random: Random, voice: str) -> Dialogue:
    """One dialogue by that voice, whatever split it falls into."""
    (ask,) = random.choices([task for task, _ in _TASKS], [share for _, share in _TASKS])
    turns = [ask(random, voice)]
    while len(turns) < MAX_TURNS and random.random() < FOLLOW_UP_SHARE:
        following = _follow_up(random, voice, turns[-1])
        if following is None:
            break
        turns.append(following)
    return Dialogue(voice, tuple(turns))


def number(value: int) -> str:
    """`22` -> `twenty two`: words without a hyphen, so that each is one."""
    words: str = num2words(value)
    return words.replace("-", " ")


def sum_turn(question: str, operation: str, left: int, right: int) -> Turn:
    """A sum, asked in those words. The order of a plus or times is not another combination."""
    result = {"plus": left + right, "minus": left - right, "times": left * right}[operation]
    low, high = (left, right) if operation == "minus" else sorted((left, right))
    answer = f"{number(left)} {operation} {number(right)} is {number(result)}."
    return Turn(
        "sum",
        question,
        answer.capitalize(),
        number(result),
        (f"sum:{operation}:{low}:{high}",),
    )


def _ask_sum(random: Random, voice: str) -> Turn:
    operation = random.choice(("plus", "plus", "minus", "minus", "times"))
    if operation == "times":
        left, right = random.randint(1, 10), random.randint(1, 10)
    elif operation == "plus":
        left, right = random.randint(0, 20), random.randint(0, 20)
    else:
        left = random.randint(0, 25)
        right = random.randint(0, left)
    begin = random.choice(("What is", "How much is", "Tell me what is"))
    mark = "." if begin.startswith("Tell") else "?"
    question = f"{begin} {number(left)} {operation} {number(right)}{mark}"
    return sum_turn(question, operation, left, right)


def _calendar_turn(question: str, kind: str, names: tuple[str, ...], at: int, step: str) -> Turn:
    name, found = names[at], names[(at + STEPS[step]) % len(names)]
    words = _step_words(kind, step)
    combination = f"{kind}:{step}:{name}"
    return Turn(kind, question, f"{words} {name} is {found}.", found.lower(), (combination,))


def _step_words(kind: str, step: str) -> str:
    if step in ("after", "before"):
        return f"The {kind} {step}"
    count, side = step.split()
    return f"{count.capitalize()} {kind}s {side}"


def _ask_day(random: Random, voice: str) -> Turn:
    return _ask_calendar(random, "day", world.DAYS)


def _ask_month(random: Random, voice: str) -> Turn:
    return _ask_calendar(random, "month", world.MONTHS)


def _ask_calendar(random: Random, kind: str, names: tuple[str, ...]) -> Turn:
    at, step = random.randrange(len(names)), random.choice(tuple(STEPS))
    if step in ("after", "before"):
        begin = random.choice((f"What {kind} comes {step}", f"Which {kind} comes {step}"))
    else:
        begin = f"{random.choice((f'What {kind} is', f'Which {kind} comes'))} "
        begin += _step_words(kind, step).lower()
    return _calendar_turn(f"{begin} {names[at]}?", kind, names, at, step)


def _fact_turn(task: str, question: str, answer: str, key: str, item: str, voice: str) -> Turn:
    return Turn(task, question, answer, key.lower(), (f"{task}:{item}:{voice}",))


def _capital_turn(question: str, country: str, voice: str) -> Turn:
    capital = world.CAPITALS[country]
    answer = f"The capital of {country} is {capital}."
    return _fact_turn("capital", question, answer, capital, country, voice)


def _ask_capital(random: Random, voice: str) -> Turn:
    country = random.choice(tuple(world.CAPITALS))
    question = random.choice(
        (
            "What is the capital of {}?",
            "Please tell me the capital of {}.",
            "{}, what is its capital?",
        )
    )
    return _capital_turn(question.format(country), country, voice)


def _color_turn(question: str, thing: str, voice: str) -> Turn:
    color = world.COLORS[thing]
    return _fact_turn("color", question, f"{thing.capitalize()} is {color}.", color, thing, voice)


def _ask_color(random: Random, voice: str) -> Turn:
    thing = random.choice(tuple(world.COLORS))
    question = random.choice(
        ("What color is {}?", "Tell me, what color is {}?", "Which color has {}?")
    )
    return _color_turn(question.format(thing), thing, voice)


def _opposite_turn(question: str, word: str, voice: str) -> Turn:
    opposite = _OPPOSITES[word]
    answer = f"The opposite of {word} is {opposite}."
    return _fact_turn("opposite", question, answer, opposite, word, voice)


def _ask_opposite(random: Random, voice: str) -> Turn:
    word = random.choice(tuple(_OPPOSITES))
    question = random.choice(("What is the opposite of {}?", "Tell me the opposite of {}."))
    return _opposite_turn(question.format(word), word, voice)


def _spelling_turn(question: str, word: str, voice: str) -> Turn:
    answer = f"{word.capitalize()} is spelled {', '.join(word.upper())}."
    return _fact_turn("spelling", question, answer, " ".join(word), word, voice)


def _ask_spelling(random: Random, voice: str) -> Turn:
    word = random.choice(world.SPELLED)
    question = random.choice(("How do you spell {}?", "Please spell the word {}."))
    return _spelling_turn(question.format(word), word, voice)


def _ask_greeting(random: Random, voice: str) -> Turn:
    name = random.choice(world.NAMES)
    question = random.choice(("Hello, my name is {}.", "Hi, I'm {}.", "Good morning, this is {}."))
    answer = f"Hello {name}, nice to meet you."
    return _fact_turn("greeting", question.format(name), answer, name, name, voice)


def _ask_repeat(random: Random, voice: str) -> Turn:
    first, second = random.choice(world.ADJECTIVES), random.choice(world.ADJECTIVES)
    who, whom = random.sample(world.NOUNS, 2)
    sentence = f"the {first} {who} {random.choice(world.VERBS)} the {second} {whom}"
    question = random.choice(("Repeat after me, {}.", "Please say, {}."))
    # The tiger that is held out as a subject is held out as an object too.
    combinations = (f"repeat:{first}:{who}", f"repeat:{second}:{whom}")
    return Turn(
        "repeat", question.format(sentence), f"{sentence.capitalize()}.", sentence, combinations
    )


def _follow_up(random: Random, voice: str, last: Turn) -> Turn | None:
    """A question that needs the turn before it to be understood; None if there is none to ask."""
    if last.task == "again":
        return None
    if last.task in ("repeat", "name") or random.random() < AGAIN_SHARE:
        question = random.choice(("Please say that again.", "Can you repeat that?"))
        return Turn("again", question, last.answer, last.key, last.combinations)
    return _GOES_ON[last.task](random, voice, last)


def _calendar_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    names = world.DAYS if last.task == "day" else world.MONTHS
    at = [name.lower() for name in names].index(last.key)
    step = random.choice(("after", "before"))
    return _calendar_turn(f"And the {last.task} {step} that?", last.task, names, at, step)


def _capital_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    country = random.choice(tuple(world.CAPITALS))
    return _capital_turn(f"And of {country}?", country, voice)


def _color_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    thing = random.choice(tuple(world.COLORS))
    return _color_turn(f"And {thing}?", thing, voice)


def _opposite_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    word = random.choice(tuple(_OPPOSITES))
    return _opposite_turn(f"And of {word}?", word, voice)


def _spelling_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    word = random.choice(world.SPELLED)
    return _spelling_turn(f"And the word {word}?", word, voice)


def _greeting_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    name = last.key.capitalize()
    return _fact_turn("name", "What is my name?", f"Your name is {name}.", name, name, voice)


def _sum_goes_on(random: Random, voice: str, last: Turn) -> Turn:
    left = _VALUES[last.key]
    operation = random.choice(("plus", "minus")) if left else "plus"
    right = random.randint(1, min(left, 10) if operation == "minus" else 10)
    return sum_turn(f"And {operation} {number(right)}?", operation, left, right)


_OPPOSITES = {
    **world.OPPOSITES,
    **{second: first for first, second in world.OPPOSITES.items()},
}
_VALUES = {number(value): value for value in range(1000)}

_GOES_ON: dict[str, _GoOn] = {
    "sum": _sum_goes_on,
    "day": _calendar_goes_on,
    "month": _calendar_goes_on,
    "capital": _capital_goes_on,
    "color": _color_goes_on,
    "opposite": _opposite_goes_on,
    "spelling": _spelling_goes_on,
    "greeting": _greeting_goes_on,
}

_TASKS: tuple[tuple[_Ask, float], ...] = (
    (_ask_sum, 0.25),
    (_ask_day, 0.09),
    (_ask_month, 0.09),
    (_ask_capital, 0.12),
    (_ask_color, 0.10),
    (_ask_opposite, 0.10),
    (_ask_spelling, 0.09),
    (_ask_greeting, 0.08),
    (_ask_repeat, 0.08),
)
