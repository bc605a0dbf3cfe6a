"""Tables as text. No torch."""

import unicodedata
from collections.abc import Collection, Sequence


def markdown(lines: Sequence[Sequence[str]], *, left: Sequence[bool]) -> str:
    """A Markdown table, the heading first, also aligned for a terminal. ``left``: which columns are left-aligned."""
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


def latex(lines: Sequence[Sequence[str]], *, left: Sequence[bool], bold: Collection[tuple[int, int]] = ()) -> str:
    """The same as a LaTeX ``tabular`` with the rules of booktabs, of which ``\\input`` makes a table.

    Args:
        lines: cells; the heading first. A rule stands above each line whose first cell differs from the one before.
        left: which columns are, the others are right.
        bold: (line, column) of the best values.
    """
    rows = [
        [f"\\textbf{{{_for_latex(cell)}}}" if (y, x) in bold else _for_latex(cell) for x, cell in enumerate(line)]
        for y, line in enumerate(lines)
    ]
    body: list[str] = []
    for y, row in enumerate(rows):
        if y and (y == 1 or lines[y][0] != lines[y - 1][0]):
            body.append("\\midrule")
        body.append(f"{' & '.join(row)} \\\\")
    columns = "".join("l" if at_left else "r" for at_left in left)
    rules = [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", *body, "\\bottomrule", "\\end{tabular}"]
    return "\n".join(["% needs \\usepackage{booktabs}", *rules]) + "\n"


_LATEX = {c: f"\\{c}" for c in "&%$#_{}"}
_LATEX |= {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
_LATEX |= {"<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}"}
_LATEX |= {"↑": "$\\uparrow$", "↓": "$\\downarrow$", "∞": "$\\infty$", "–": "--"}


def _for_latex(text: str) -> str:
    return "".join(_LATEX.get(c, c if c.isprintable() else "?") for c in text)


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
