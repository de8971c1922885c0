"""Words for what is written but not said: abbreviations, symbols, units and magnitudes."""

from __future__ import annotations

import re

# Before a name, with a capital: "Dr. Smith".
TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Ms",
    "Dr": "Doctor",
    "Prof": "Professor",
    "Gen": "General",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gov": "Governor",
    "Capt": "Captain",
    "Sgt": "Sergeant",
    "Lt": "Lieutenant",
    "Col": "Colonel",
    "Rev": "Reverend",
    "St": "Saint",
    "Mt": "Mount",
}

# With a capital too, but anywhere: "Acme Inc. makes", "on Dec. 5".
PROPER_ABBREVIATIONS = {
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Corp": "Corporation",
    "Dept": "Department",
    "Jan": "January",
    "Feb": "February",
    "Aug": "August",
    "Sept": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
}

# In any case.
COMMON_ABBREVIATIONS = {
    "approx": "approximately",
    "vs": "versus",
    "etc": "et cetera",
    "e.g": "for example",
    "eg": "for example",
    "i.e": "that is",
    "ie": "that is",
    "a.m": "a m",
    "p.m": "p m",
    "ph.d": "P h D",
}

_INITIALS = re.compile(r"(?:[^\W\d_]\.){1,10}")


def is_abbreviation(word: str) -> bool:
    """Whether the full stop at the end of `word` belongs to it: `Dr.`, `e.g.`, `U.S.`, `J.`"""
    if not word.endswith("."):
        return False
    stem = word[:-1]
    return (
        stem in TITLES
        or stem in PROPER_ABBREVIATIONS
        or stem.lower() in COMMON_ABBREVIATIONS
        or _INITIALS.fullmatch(word) is not None
    )


SYMBOLS = {
    "&": "and",
    "%": "percent",
    "+": "plus",
    "=": "equals",
    "@": "at",
    "$": "dollar",
    "£": "pound",
    "€": "euro",
    "¥": "yen",
    "₹": "rupee",
    "°": "degrees",
    "×": "times",
    "÷": "divided by",
    "±": "plus or minus",
    "≈": "about",
    "≠": "is not",
    "≤": "at most",
    "≥": "at least",
    "√": "square root of",
    "∞": "infinity",
    "§": "section",
    "→": "to",
    "⇒": "to",
    "⟶": "to",
    "➔": "to",
    "➜": "to",
    "↔": "and",
    "←": "from",
    "‰": "per thousand",
}

# One, many. A currency sign stands before or after its number.
CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}

MAGNITUDES = ("thousand", "million", "billion", "trillion")
MAGNITUDE_LETTERS = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}

# One, many. Only after a number; the case matters.
UNITS = {
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "kmh": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "m/s": ("meter per second", "meters per second"),
    "km": ("kilometer", "kilometers"),
    "m": ("meter", "meters"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "km^2": ("square kilometer", "square kilometers"),
    "m^2": ("square meter", "square meters"),
    "m^3": ("cubic meter", "cubic meters"),
    "ft": ("foot", "feet"),
    "mi": ("mile", "miles"),
    "kg": ("kilogram", "kilograms"),
    "g": ("gram", "grams"),
    "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "GB": ("gigabyte", "gigabytes"),
    "MB": ("megabyte", "megabytes"),
    "KB": ("kilobyte", "kilobytes"),
    "TB": ("terabyte", "terabytes"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "W": ("watt", "watts"),
    "kW": ("kilowatt", "kilowatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "V": ("volt", "volts"),
    "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"),
    "sec": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "%": ("percent", "percent"),
}

# Without a vowel, and yet not spelled out letter by letter.
UNSPELLED_CAPITALS = frozenset(
    {"HMM", "MM", "PSST", "PST", "SHH", "SH", "BRR", "GRR", "PFFT", "TSK"}
)
