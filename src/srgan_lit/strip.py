"""The comparison strip of the paper (Ledig et al. 2017, figure 2): models side by side, scores below, a box zoomed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from srgan_lit import crops

_COLUMN_PX = 400
_GAP_PX = 16
_PAPER, _INK, _FAINT, _MARK = "#ffffff", "#111111", "#555555", "#ffb000"


class Column(NamedTuple):
    """A picture (H, W, 3) uint8, the name above it and a line below, such as "28.43 dB / 0.8111"."""

    name: str
    pixels: NDArray[np.uint8]
    caption: str


def draw(columns: Sequence[Column], box: crops.Box) -> Image.Image:
    """Draw one column per picture: its name, the whole with ``box`` marked, the box enlarged, its caption.

    The pictures have one size; they are bicubic, the models and the original, from left to right.
    """
    height, width = columns[0].pixels.shape[:2]
    shown = (_COLUMN_PX, max(1, round(height * _COLUMN_PX / width)))
    title, plain = ImageFont.load_default(size=24), ImageFont.load_default(size=21)
    top = _GAP_PX + 32
    zoom_y = top + shown[1] + _GAP_PX
    caption_y = zoom_y + _COLUMN_PX + 8
    step = _COLUMN_PX + _GAP_PX
    canvas = Image.new("RGB", (len(columns) * step + _GAP_PX, caption_y + 32 + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for index, (name, pixels, caption) in enumerate(columns):
        x = _GAP_PX + index * step
        middle = x + _COLUMN_PX // 2
        pen.text((middle, top - 8), _fitted(pen, name, title), font=title, fill=_INK, anchor="ms")
        # A small picture is enlarged with its pixels visible; a large one is only shown small here, and whole
        # in the report.
        whole = Image.fromarray(pixels)
        filter_ = Image.Resampling.NEAREST if width <= _COLUMN_PX // 2 else Image.Resampling.LANCZOS
        canvas.paste(whole.resize(shown, filter_), (x, top))
        factor = _COLUMN_PX / width
        corner = (x + round(box.x * factor), top + round(box.y * factor))
        far = (x + round((box.x + box.side) * factor), top + round((box.y + box.side) * factor))
        pen.rectangle((corner, far), outline=_MARK, width=3)
        zoomed = Image.fromarray(np.ascontiguousarray(crops.cut(pixels, box)))
        canvas.paste(zoomed.resize((_COLUMN_PX, _COLUMN_PX), Image.Resampling.NEAREST), (x, zoom_y))
        pen.rectangle((x, zoom_y, x + _COLUMN_PX - 1, zoom_y + _COLUMN_PX - 1), outline=_MARK, width=3)
        pen.text((middle, caption_y + 24), _fitted(pen, caption, plain), font=plain, fill=_FAINT, anchor="ms")
    return canvas


def _fitted(pen: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """``text`` on one line, cut with an ellipsis to a column's width."""
    text = " ".join(text.split())
    if pen.textlength(text, font=font) <= _COLUMN_PX:
        return text
    while text and pen.textlength(text + "…", font=font) > _COLUMN_PX:
        text = text[:-1]
    return text + "…"
