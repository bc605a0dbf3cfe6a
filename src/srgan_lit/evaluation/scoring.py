"""Every model on every picture, once: the scores feed the table, the files, the strip and the report alike."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from PIL import Image
from tqdm import tqdm

from srgan_lit.common import atomic_files
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.data.learnt_from import LearntFrom
from srgan_lit.evaluation import columns, comparison_strip, hardest_boxes, report, results
from srgan_lit.evaluation.columns import Measure
from srgan_lit.evaluation.results import Row, Score, Scored
from srgan_lit.pictures import rgb8, tensors
from srgan_lit.pictures.rgb8 import Pair
from srgan_lit.upscaling.upscalers import Upscaler

# What ``evaluate`` writes beside ``images/``.
FILES = ("results.json", "results.md", "results.tex", "images.csv", "comparison.png", "report.html")


class Pairs(Protocol):
    """Named pairs of LR and HR that load one at a time: test pictures, validation pictures, or a caller's own.

    They may also have ``albums``, what each picture comes from, for pages to show pictures of different ones, and a
    ``caption``, what must be said of their scores.
    """

    @property
    def name(self) -> str:
        """As tables show it."""

    @property
    def names(self) -> Sequence[str]:
        """Of its pictures."""

    def load(self, index: int) -> Pair:
        """Return a picture; raises SRGANError if this one is not readable."""


def common_scale(models: Mapping[str, Upscaler]) -> int:
    """The scale of all models.

    Raises:
        UsageError: they differ, or there is no model.
    """
    scales = {model.scale for model in models.values()}
    if len(scales) != 1:
        said = ", ".join(f"{name} x{model.scale}" for name, model in models.items()) or "none given"
        raise UsageError(f"models of one scale can be compared, not {said}; evaluate each scale by itself")
    return scales.pop()


def _score_picture(
    models: Mapping[str, Upscaler],
    scored: Scored,
    measures: Sequence[Measure],
    rows: dict[str, Row],
    learnt: Mapping[str, LearntFrom],
) -> None:
    pair = scored.pair
    hr = tensors.from_pixels(pair.hr)
    for label, model in models.items():
        try:
            started = time.perf_counter()
            sr = model(pair.lr)
            seconds = time.perf_counter() - started
            image = tensors.from_pixels(sr)
            values = {column.key: column.compute(image, hr, pair) for column in measures}
        except (SRGANError, ValueError, MemoryError, RuntimeError) as error:
            # ValueError: too small for the protocol. RuntimeError: how torch says that it is out of memory.
            rows[label].failed[pair.name] = f"{label}: {str(error) or 'out of memory'}"
            continue
        scored.srs[label] = sr
        scored.scores[label] = Score(name=pair.name, values=values, seconds=seconds)
        rows[label].images.append(scored.scores[label])
        of_model = learnt.get(label, LearntFrom())
        if pair.content in of_model.trained:
            rows[label].trained_on.append(pair.name)
        if of_model.chosen and pair.content in of_model.validated:
            rows[label].chosen_by.append(pair.name)


def score(
    models: Mapping[str, Upscaler],
    test_set: Pairs,
    measures: Sequence[Measure],
    rows: dict[str, Row],
    learnt: Mapping[str, LearntFrom] = MappingProxyType({}),
) -> Iterator[Scored]:
    """Score a data set picture by picture, adding to ``rows`` (by model) as it goes.

    A picture that cannot be read, or that a model or a measure refuses, goes to ``Row.failed`` with the reason
    and is not yielded if no model is left; the others are scored. One picture is held at a time.
    """
    for index, name in enumerate(tqdm(test_set.names, desc=test_set.name, unit="picture", disable=None)):
        try:
            pair = test_set.load(index)
        except SRGANError as error:
            for row in rows.values():
                row.failed[name] = str(error)
            continue
        scored = Scored(dataset=test_set.name, index=index, pair=pair, srs={}, scores={})
        _score_picture(models, scored, measures, rows, learnt)
        if scored.scores:
            yield scored


def evaluate(
    models: Mapping[str, Upscaler],
    sets: Sequence[Pairs],
    protocol: str,
    out: Path,
    *,
    extra: Sequence[Measure] = (),
    save_images: bool = False,
    show: int = 6,
    runs: Mapping[str, Path] | None = None,
    learnt: Mapping[str, LearntFrom] = MappingProxyType({}),
) -> list[Row]:
    """Score every model on every data set and write what came out of it into ``out``, which is made.

    ``results.json``, ``.md`` and ``.tex``, ``images.csv``, ``comparison.png`` (the hardest picture of the first data
    set) and ``report.html``; with ``save_images`` also ``images/<data set>/<model>/<picture>.png``.

    Args:
        models: by the name that tables show, in order; the first says which pictures are hard.
        sets: data sets of LR images that the models' scale fits.
        protocol: ``y_shave4``, ``y_full`` or ``rgb_full``.
        extra: columns beside those of ``columns.standard``.
        save_images: keep what the models make.
        show: how many pictures of each data set the report shows, the hardest ones.
        runs: run directories whose curves the report shows, by name.
        learnt: what models were trained on, by name: the table says where they are scored on it.

    Returns:
        A row per data set and model. Pictures that failed are named in ``Row.failed``.

    Raises:
        UsageError: the protocol is unknown or the models' scales differ.
        OSError: ``out`` cannot be written.
    """
    measures = [*columns.standard(protocol, common_scale(models)), *extra]
    out.mkdir(parents=True, exist_ok=True)
    all_rows: list[Row] = []
    gallery = report.Gallery(show)
    hardest: Scored | None = None
    for test_set in sets:
        rows = {
            label: Row(model=label, dataset=test_set.name, protocol=protocol, caption=getattr(test_set, "caption", ""))
            for label in models
        }
        for scored in score(models, test_set, measures, rows, learnt):
            if save_images:
                _save(out / "images", scored)
            gallery.offer(scored, getattr(test_set, "albums", test_set.names))
            if hardest is None or (scored.dataset == hardest.dataset and scored.psnr < hardest.psnr):
                hardest = scored
        all_rows.extend(rows.values())
    results.write(out, all_rows, measures)
    if hardest is not None:
        with atomic_files.replacing(out / "comparison.png") as temporary:
            comparison(hardest).save(temporary)
    report.write(out / "report.html", all_rows, measures, gallery, runs or {})
    return all_rows


def comparison(scored: Scored) -> Image.Image:
    """The strip of one scored picture: what each model made of it, and the original."""
    hr = scored.pair.hr
    box = hardest_boxes.hardest(scored.srs.values(), hr, count=1, side=max(24, min(hr.shape[:2]) // 6))[0]
    columns = [
        comparison_strip.Column(label, sr, "{psnr:.2f} dB / {ssim:.4f}".format_map(scored.scores[label].values))
        for label, sr in scored.srs.items()
    ]
    return comparison_strip.draw([*columns, comparison_strip.Column("original", hr, "PSNR / SSIM")], box)


def _save(folder: Path, scored: Scored) -> None:
    for label, sr in scored.srs.items():
        target = folder / scored.dataset / label / f"{scored.pair.name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        rgb8.write_png(target, sr)
