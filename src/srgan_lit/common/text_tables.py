"""Tables as text. No torch."""

import unicodedata
from collections.abc import Sequence


def markdown(lines: Sequence[Sequence[str]], *, left: Sequence[bool]) -> str:
    """A table, its heading first, aligned for a terminal too; ``left`` says which columns are, the others are right."""
    # A bar would end the cell, a line break the table.
    lines = [
        ["".join(c if c.isprintable() else "?" for c in cell).replace("|", "\\|") for cell in line] for line in lines
    ]
    widths = [max(3, *map(_width, column)) for column in zip(*lines, strict=True)]
    rule = [("-" * width) if at_left else "-" * (width - 1) + ":" for width, at_left in zip(widths, left, strict=True)]

    def padded(cell: str, width: int, at_left: bool) -> str:
        space = " " * (width - _width(cell))
        return cell + space if at_left else space + cell

    filled = [[padded(*one) for one in zip(line, widths, left, strict=True)] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in [filled[0], rule, *filled[1:]])


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
