"""The columns of a table: how each is computed from a picture's SR, HR and LR images, and how it is shown.

A new one goes here alone: files, the report and the table of runs show what they are given.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.evaluation import metrics
from srgan_lit.evaluation.stored_results import Column
from srgan_lit.pictures import tensors
from srgan_lit.pictures.rgb8 import Pair


@dataclass(frozen=True, kw_only=True)
class Measure(Column):
    """A column, and how its values come about.

    Attributes:
        compute: the value for ``sr`` and ``hr`` (1, 3, H, W) in [0, 1] and the pair they belong to.
        explanation: what it is, for the page's reader.
        missing: why the column is empty; "" where it is not.
    """

    compute: Callable[[Tensor, Tensor, Pair], float]
    explanation: str
    missing: str = ""


def standard(protocol: str, scale: int) -> list[Measure]:
    """The columns of every table: PSNR, SSIM, LR consistency, checkerboard (see ``metrics``).

    Raises:
        UsageError: no protocol has this name.
    """
    try:
        rule = metrics.protocol(protocol)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return [
        Measure(
            key="psnr",
            heading="PSNR ↑",
            best="max",
            objective="psnr",
            digits=3,
            compute=lambda sr, hr, pair: metrics.psnr(sr, hr, rule, grey=pair.grey).item(),
            explanation=f"Peak signal-to-noise ratio in dB, protocol {protocol}.",
        ),
        Measure(
            key="ssim",
            heading="SSIM ↑",
            best="max",
            digits=4,
            compute=lambda sr, hr, pair: metrics.ssim(sr, hr, rule, grey=pair.grey).item(),
            explanation=f"Structural similarity (Wang et al. 2004), protocol {protocol}.",
        ),
        Measure(
            key="lr_psnr",
            heading="LR-PSNR ↑",
            best="max",
            digits=2,
            compute=lambda sr, hr, pair: metrics.lr_psnr(sr, tensors.from_pixels(pair.lr)).item(),
            explanation="LR consistency in dB: the SR picture, shrunk again, against what the model was given (RGB).",
        ),
        Measure(
            key="checkerboard_db",
            heading="Checkerboard ↓",
            best="min",
            digits=1,
            compute=lambda sr, hr, pair: metrics.checkerboard(sr, scale).item(),
            explanation=f"Energy in dB of a grid of {scale} pixels over its neighbourhood in the spectrum; "
            "photographs lie near 0. Empty for pictures too small to tell.",
        ),
    ]


def of_papers(benchmarks: Iterable[str], protocol: str) -> list[Measure]:
    """PSNR and SSIM in ``y_full`` beside those in ``protocol``, where a data set is CUFED5: its papers' protocol."""
    if "CUFED5" not in benchmarks or protocol == "y_full":
        return []
    both = [measure for measure in standard("y_full", 4) if measure.key in ("psnr", "ssim")]
    return [
        replace(measure, key=f"{measure.key}_y_full", heading=f"{measure.key.upper()} y_full ↑", objective="")
        for measure in both
    ]


def perceptual(weights: str, backbone: str | None = None, *, device: str | torch.device = "cpu") -> Measure:
    """Mean squared distance of VGG features in the last layer, as the perceptual loss computes it.

    Args:
        weights: a file with torchvision's VGG19 or VGG16 features, ``imagenet`` (VGG19's, downloaded once), or
            ``random``.
        backbone: ``vgg19`` or ``vgg16``; None for the one that the file holds.
        device: that computes.

    Raises:
        SRGANError: the weights cannot be had, or are neither network's.
    """
    from srgan_lit.evaluation.feature_distance import FeatureDistance
    from srgan_lit.losses.perceptual import PerceptualLoss
    from srgan_lit.model_files.vgg_weights import vgg_features

    try:
        features = vgg_features(backbone=backbone or "vgg19", layer=None, weights=weights)
    except UsageError:
        raise
    except SRGANError:
        if backbone is not None or weights == "imagenet":
            raise
        features = vgg_features(backbone="vgg16", layer=None, weights=weights)
    distance = FeatureDistance(PerceptualLoss(features).to(device))
    name = f"{features.backbone.upper()} {features.block}_{features.conv}"

    def compute(sr: Tensor, hr: Tensor, pair: Pair) -> float:
        with torch.inference_mode():
            return distance(sr, hr).item()

    return Measure(
        key=name.lower().replace(" ", "_"),
        heading=f"{name} ↓",
        best="min",
        objective="perceptual",
        digits=4,
        compute=compute,
        explanation=f"Mean squared distance of the features after relu{features.block}_{features.conv} of "
        f"{features.backbone.upper()}, divided by 12.75 (the perceptual loss of Ledig et al. 2017).",
    )


def lpips(backbone: str, *, device: str | torch.device = "cpu") -> Measure:
    """LPIPS (Zhang et al. 2018) on RGB.

    Without a download the column stays, empty, and says why: a table made offline lacks one measure, not the rest.

    Args:
        backbone: ``alex`` (what papers report), ``vgg`` or ``squeeze``, which torchvision downloads once; or a file
            with one's weights.
        device: that computes.

    Raises:
        UsageError: no such file.
        SRGANError: the file holds no backbone of LPIPS.
    """
    from srgan_lit.model_files import lpips_weights

    judge, network, missing = None, backbone, ""
    try:
        judge, network = lpips_weights.lpips(backbone)
        judge = judge.to(device)
    except SRGANError as error:
        if backbone not in lpips_weights.NETWORKS:
            raise
        missing = f"LPIPS is empty: {error}."

    def compute(sr: Tensor, hr: Tensor, pair: Pair) -> float:
        if judge is None:
            return math.nan
        with torch.inference_mode():
            return judge(sr.to(device), hr.to(device)).item()

    return Measure(
        key=f"lpips_{network}",
        heading=f"LPIPS-{network} ↓",
        best="min",
        digits=4,
        compute=compute,
        explanation=f"Learned perceptual distance (Zhang et al. 2018), {network} backbone, RGB of the whole picture.",
        missing=missing,
    )
