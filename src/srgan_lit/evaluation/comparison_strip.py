"""The comparison strip of the paper (Ledig et al. 2017, figure 2): models side by side, scores below, a box zoomed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from srgan_lit.evaluation import hardest_boxes

_GAP_PX = 16
_PAPER, _INK, _FAINT, _MARK = "#ffffff", "#111111", "#555555", "#ffb000"


class Column(NamedTuple):
    """A picture (H, W, 3) uint8, the name above it and a line below, such as "28.43 dB / 0.8111"."""

    name: str
    pixels: NDArray[np.uint8]
    caption: str


def draw(columns: Sequence[Column], box: hardest_boxes.Box, *, column_px: int = 400) -> Image.Image:
    """Draw one column per picture: its name, the whole picture with ``box`` marked, the box enlarged, its caption.

    The pictures have one size; they are bicubic, the models and the original, from left to right.
    ``column_px`` is the width of each.
    """
    height, width = columns[0].pixels.shape[:2]
    shown = (column_px, max(1, round(height * column_px / width)))
    title, plain = (
        ImageFont.load_default(size=min(24, column_px // 12)),
        ImageFont.load_default(size=min(21, column_px // 14)),
    )
    top = _GAP_PX + 32
    zoom_y = top + shown[1] + _GAP_PX
    caption_y = zoom_y + column_px + 8
    step = column_px + _GAP_PX
    canvas = Image.new("RGB", (len(columns) * step + _GAP_PX, caption_y + 32 + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for index, (name, pixels, caption) in enumerate(columns):
        x = _GAP_PX + index * step
        middle = x + column_px // 2
        pen.text((middle, top - 8), _fitted(pen, name, title, column_px), font=title, fill=_INK, anchor="ms")
        # A small picture is enlarged with its pixels visible; a large one is only shown small here, and whole
        # in the report.
        whole = Image.fromarray(pixels)
        filter_ = Image.Resampling.NEAREST if width <= column_px // 2 else Image.Resampling.LANCZOS
        canvas.paste(whole.resize(shown, filter_), (x, top))
        factor = column_px / width
        corner = (x + round(box.x * factor), top + round(box.y * factor))
        far = (x + round((box.x + box.side) * factor), top + round((box.y + box.side) * factor))
        pen.rectangle((corner, far), outline=_MARK, width=3)
        zoomed = Image.fromarray(np.ascontiguousarray(hardest_boxes.cut(pixels, box)))
        canvas.paste(zoomed.resize((column_px, column_px), Image.Resampling.NEAREST), (x, zoom_y))
        pen.rectangle((x, zoom_y, x + column_px - 1, zoom_y + column_px - 1), outline=_MARK, width=3)
        pen.text(
            (middle, caption_y + 24), _fitted(pen, caption, plain, column_px), font=plain, fill=_FAINT, anchor="ms"
        )
    return canvas


def _fitted(
    pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, column_px: int
) -> str:
    """``text`` on one line, cut with an ellipsis to a column's width."""
    text = " ".join(text.split())
    if pen.textlength(text, font=font) <= column_px:
        return text
    while text and pen.textlength(text + "…", font=font) > column_px:
        text = text[:-1]
    return text + "…"
