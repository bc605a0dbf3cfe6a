"""Whole pictures in a training: enlarged and scored as ``evaluate`` does it, next to bicubic. No loggers."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from srgan_lit.evaluation import metrics
from srgan_lit.networks.srresnet import Generator
from srgan_lit.pictures import bicubic, tensors
from srgan_lit.upscaling import engine, tiling


class WholePictures:
    """Enlarges whole pictures with the generator of a training, and scores them.

    ``lr`` is (B, 3, h, w) and ``hr`` (B, 3, scale*h, scale*w), both in [0, 1]; scores are of one picture.

    Args:
        scale: of the generator.
    """

    def __init__(self, scale: int) -> None:
        self._scale = scale
        self._protocol = metrics.protocol(f"y_shave{scale}")
        self._bicubic_scores: dict[str, tuple[Tensor, Tensor]] = {}
        self._enlarger: engine.Enlarger | None = None  # between ``begin`` and ``end``

    def forget(self) -> None:
        """Drop the scores of bicubic: other data may have pictures of the same names."""
        self._bicubic_scores.clear()

    def begin(self, generator: Generator, device: torch.device) -> None:
        """Accelerate the generator once for all pictures up to ``end``.

        cuDNN's search for algorithms is off meanwhile: it would search for the size of each picture.
        """
        self._enlarger = engine.Enlarger(generator, device=device)
        self._autotuning, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False

    def end(self) -> None:
        """Drop the accelerated copy."""
        self._enlarger = None
        torch.backends.cudnn.benchmark = self._autotuning

    @torch.no_grad()
    def enlarged(self, lr: Tensor, generator: Generator, device: torch.device) -> Tensor:
        """``sr`` (B, 3, scale*h, scale*w) in float32, unclamped, in exact tiles where the pictures are large."""
        enlarger = self._enlarger or engine.Enlarger(generator, device=device)
        lr = lr.contiguous(memory_format=torch.channels_last)
        side = enlarger.tile("auto", *lr.shape[-2:])
        with torch.autocast(device.type, enabled=False):
            return tiling.tiled(enlarger.network, lr, scale=enlarger.scale, tile=side, halo=enlarger.halo).float()

    def validation_scores(self, sr: Tensor, lr: Tensor, hr: Tensor, *, name: str, grey: bool) -> dict[str, Tensor]:
        """PSNR and SSIM of ``sr`` and of bicubic, and the gain over it, in the literature's protocol for this scale.

        Bicubic's are computed once for each ``name``, and each time where it is "".
        """
        scores = {"psnr": metrics.psnr(sr, hr, self._protocol, grey=grey)}
        scores["ssim"] = metrics.ssim(sr, hr, self._protocol, grey=grey)
        if not name or name not in self._bicubic_scores:
            smooth = self._by_bicubic(lr, hr)
            self._bicubic_scores[name] = (
                metrics.psnr(smooth, hr, self._protocol, grey=grey),
                metrics.ssim(smooth, hr, self._protocol, grey=grey),
            )
        scores["psnr_bicubic"], scores["ssim_bicubic"] = self._bicubic_scores[name]
        scores["psnr_gain"] = scores["psnr"] - scores["psnr_bicubic"]
        return scores

    def test_scores(self, sr: Tensor, lr: Tensor, hr: Tensor, *, grey: bool) -> dict[str, Tensor]:
        """PSNR and SSIM of ``sr`` and of bicubic in every protocol."""
        smooth = self._by_bicubic(lr, hr)
        scores = {}
        for name in (self._protocol.name, "y_full", "rgb_full"):
            protocol = metrics.protocol(name)
            for model, picture in (("", sr), ("_bicubic", smooth)):
                scores[f"psnr{model}_{name}"] = metrics.psnr(picture, hr, protocol, grey=grey)
                scores[f"ssim{model}_{name}"] = metrics.ssim(picture, hr, protocol, grey=grey)
        return scores

    def _by_bicubic(self, lr: Tensor, hr: Tensor) -> Tensor:
        return tensors.from_pixels(bicubic.enlarge(tensors.to_pixels(lr), self._scale)).to(hr.device)


def each(sr: Tensor, batch: Mapping[str, Any]) -> Iterator[tuple[Tensor, Tensor, Tensor, str, bool]]:
    """``sr``, ``lr`` and ``hr`` (1, 3, H, W), name and greyness of each picture of a batch."""
    for number, (name, grey) in enumerate(zip(batch["name"], batch["grey"], strict=True)):
        one = slice(number, number + 1)
        yield sr[one], batch["lr"][one], batch["hr"][one], name, bool(grey)


def judged(judge: Callable[[Tensor, Tensor], Tensor], sr: Tensor, hr: Tensor) -> Tensor:
    """The distance of ``sr``, rounded to 8 bits, from ``hr``, in float32: as ``evaluate`` computes it."""
    with torch.autocast(sr.device.type, enabled=False):
        return judge(tensors.to_float(tensors.to_uint8(sr)), hr)
