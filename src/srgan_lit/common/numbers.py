"""Numbers in the digits 0 to 9, as people write them. Python itself takes 1_0, nan and the digits of all scripts."""

import re

_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def whole_number(text: str) -> int:
    """0, -3 or 1080. Raises ValueError for anything else."""
    if not re.fullmatch("-?[0-9]+", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def number(text: str) -> float:
    """0.5, .5, -3 or 1e-4. Raises ValueError for anything else."""
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return float(text)
