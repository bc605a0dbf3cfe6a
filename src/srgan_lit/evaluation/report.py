"""``report.html``: the table, pictures to compare with a slider, and a run's curves, in one file without a network.

The page's policy forbids every fetch and every script but its own, whose hash it carries; names of pictures and
models are escaped besides.
"""

import base64
import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

import srgan_lit
from srgan_lit.common import atomic_files
from srgan_lit.evaluation import hardest_boxes, results, run_curves
from srgan_lit.evaluation.columns import Measure
from srgan_lit.evaluation.results import Row, Score, Scored
from srgan_lit.pages.render import read, render

_LOSSLESS_PIXELS = 1_500_000  # above, high-quality WebP: a photograph of 12 megapixels is 20 MB otherwise
_WEBP_SIDE = 16383


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One picture of the slider, as a ``data:`` address."""

    label: str
    data: str


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A picture that the page shows: its layers (LR, the models', the original) and where to look closer."""

    name: str
    width: int
    height: int
    layers: list[Layer]
    boxes: list[hardest_boxes.Box]
    scores: dict[str, Score]
    lossless: bool


def _embedded(pixels: NDArray[np.uint8], *, lossless: bool) -> str:
    encoded = io.BytesIO()
    image = Image.fromarray(pixels)
    if max(image.size) > _WEBP_SIDE:
        image.save(encoded, format="PNG")
        kind = "png"
    else:
        # Lossless: a fifth of the time of WebP's defaults for 4 % more bytes.
        options = {"lossless": True, "quality": 25, "method": 1} if lossless else {"quality": 95}
        image.save(encoded, format="WEBP", **options)
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(encoded.getvalue()).decode()}"


def _exhibit(scored: Scored) -> Exhibit:
    hr = scored.pair.hr
    height, width = hr.shape[:2]
    lossless = height * width <= _LOSSLESS_PIXELS
    pictures = [("LR", scored.pair.lr), *scored.srs.items(), ("original", hr)]
    return Exhibit(
        name=scored.pair.name,
        width=width,
        height=height,
        layers=[Layer(label=name, data=_embedded(pixels, lossless=lossless)) for name, pixels in pictures],
        boxes=hardest_boxes.hardest(scored.srs.values(), hr, count=3, side=max(24, min(height, width) // 6)),
        scores=scored.scores,
        lossless=lossless,
    )


@dataclass(frozen=True, kw_only=True)
class _Kept:
    place: tuple[float, int]  # PSNR, and its number in the set: the lower, the harder
    album: str
    exhibit: Exhibit


class Gallery:
    """Keeps the hardest pictures of each data set, at most ``show`` of each, encoded as the page holds them.

    They are of different albums, as far as there are so many.
    """

    def __init__(self, show: int) -> None:
        self.show = show
        self._kept: dict[str, list[_Kept]] = {}

    def offer(self, scored: Scored, albums: Sequence[str]) -> None:
        """Take ``scored`` if it is harder than the easiest of those whose place it can have.

        ``albums`` has the album of each picture of its data set.
        """
        kept = self._kept.setdefault(scored.dataset, [])
        place, album = (scored.psnr, scored.index), albums[scored.index]
        of_album = [each for each in kept if each.album == album]
        full = len(of_album) >= math.ceil(self.show / len(set(albums)))
        if full or len(kept) >= self.show:
            easiest = max(of_album if full else kept, key=lambda each: each.place, default=None)
            if easiest is None or place >= easiest.place:
                return
            kept.remove(easiest)
        kept.append(_Kept(place=place, album=album, exhibit=_exhibit(scored)))

    def exhibits(self, dataset: str) -> list[Exhibit]:
        """Of one data set, hardest first."""
        return [each.exhibit for each in sorted(self._kept.get(dataset, []), key=lambda each: each.place)]


@dataclass(frozen=True, kw_only=True)
class _Section:
    dataset: str
    rows: list[Row]
    exhibits: list[Exhibit]

    @property
    def count(self) -> int:
        return max(row.n for row in self.rows)

    @property
    def failed(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys(failure for row in self.rows for failure in row.failed.items()))


def write(
    path: Path, rows: Sequence[Row], measures: Sequence[Measure], gallery: Gallery, runs: Mapping[str, Path]
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the page.
        rows: as ``evaluation.evaluate`` returns them.
        measures: the columns.
        gallery: the pictures to show.
        runs: run directories with a ``metrics.csv``, by the name that their curves get.
    """
    sections = [
        _Section(dataset=name, rows=[row for row in rows if row.dataset == name], exhibits=gallery.exhibits(name))
        for name in dict.fromkeys(row.dataset for row in rows)
    ]
    script = read("comparison.js", "report.js")
    page = render(
        "report.html.j2",
        sections=sections,
        measures=measures,
        notes=results.notes(rows, measures),
        best={section.dataset: {m.key: results.best(section.rows, m) for m in measures} for section in sections},
        panels=run_curves.panels(runs),
        runs=list(runs),
        drawing=run_curves,
        show=gallery.show,
        version=srgan_lit.__version__,
        style=Markup(read("report.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    atomic_files.write_text(path, page)
