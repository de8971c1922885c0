"""All recipes by name; see `backtalk train --list`."""

from __future__ import annotations

from backtalk.train.recipe import Recipe

_ALL = (
    Recipe(
        "mimi-mini",
        "A small Mimi: speech at 24 kHz as 12.5 frames of 8 codes a second, streaming.",
        "backtalk.train.recipes.mimi_mini",
    ),
    Recipe(
        "llvc",
        "A voice for live conversion: anybody to one voice, 3 to 14 ms late, on a CPU.",
        "backtalk.train.recipes.llvc",
        data="pairs",
    ),
    Recipe(
        "csm-mini",
        "A small CSM: text to the codes of a mimi-mini, at any number of codes per frame.",
        "backtalk.train.recipes.csm_mini",
    ),
    Recipe(
        "units",
        "Units of speech: clusters of a small speech encoder's states, 25 or 50 a second.",
        "backtalk.train.recipes.units",
    ),
    Recipe(
        "unit-vocoder",
        "Units to one voice at 16 kHz: a small HiFi-GAN with a duration predictor, streaming.",
        "backtalk.train.recipes.unit_vocoder",
    ),
)

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
