"""How large a result is to be: what was asked for, and what that is for a picture. No torch, no files."""

from dataclasses import dataclass

from srgan_lit.common.errors import SRGANError, UsageError


@dataclass(frozen=True, kw_only=True)
class TargetSize:
    """What was asked for; nothing at all is the generator's own scale. Hashable.

    Attributes:
        scale: times the picture's height and width.
        width: of the result in pixels; the height follows.
        height: of the result in pixels; the width follows. With ``width`` too, the result fits into both.
        max_side: no side of the result is longer, in pixels: it is as large as the generator makes it, or less.
        megapixels: the result has no more millions of pixels; likewise.

    Raises:
        UsageError: a value that is not positive, or two that contradict each other.
    """

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    max_side: int | None = None
    megapixels: float | None = None

    def __post_init__(self) -> None:
        values = {"scale": self.scale, "width": self.width, "height": self.height}
        limits = {"max-side": self.max_side, "megapixels": self.megapixels}
        for name, value in (values | limits).items():
            if value is not None and not 0 < value < 1e6:
                raise UsageError(f"--{name} {value:g} is not between 0 and a million")
        if self.scale is not None and (self.width is not None or self.height is not None):
            raise UsageError("--scale says how large the result is, and so do --width and --height: give one of them")

    def __bool__(self) -> bool:
        return self != TargetSize()

    def of(self, height: int, width: int, *, own_scale: int) -> tuple[int, int]:
        """Height and width of the result of a picture of ``height`` and ``width`` pixels.

        Args:
            height: of the picture.
            width: of the picture.
            own_scale: of the generator: no result is larger.

        Raises:
            SRGANError: more was asked for than the generator makes.
        """
        factors = [] if self.scale is None else [self.scale]
        if self.width is not None:
            factors.append(self.width / width)
        if self.height is not None:
            factors.append(self.height / height)
        factor = min(factors, default=float(own_scale))
        if factor > own_scale * (1 + 1e-9):
            raise SRGANError(
                f"{factor:.3g} times {width}x{height} pixels is more than this model makes, which is {own_scale} times "
                f"({own_scale * width}x{own_scale * height}): ask for less, or enlarge the result again"
            )
        if self.max_side is not None:
            factor = min(factor, self.max_side / max(height, width))
        if self.megapixels is not None:
            factor = min(factor, (self.megapixels * 1e6 / (height * width)) ** 0.5)
        sides = _side(height, factor), _side(width, factor)
        if self.megapixels is not None and sides[0] * sides[1] > self.megapixels * 1e6:  # by rounding
            sides = max(1, int(height * factor)), max(1, int(width * factor))
        return sides


def _side(side: int, factor: float) -> int:
    return max(1, int(side * factor + 0.5))
