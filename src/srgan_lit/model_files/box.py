"""The generators that come with the package: their names, when to take which, and their SHA-256. No torch.

Each has the paper's name and one that says what it does. MODELS.md tells how they were trained.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from srgan_lit.common import text_tables
from srgan_lit.common.errors import SRGANError

FOLDER = Path(__file__).parents[1] / "models"


@dataclass(frozen=True, kw_only=True)
class Boxed:
    """A generator in the box.

    Attributes:
        alias: another name, by what it does.
        label: in a few words.
        take_when: in a sentence.
        faithful: its SRResNet in the box, which ``--fidelity`` blends it with; "" for one that is such.
    """

    alias: str
    label: str
    take_when: str
    faithful: str = ""


GENERATORS = {
    "everyday": Boxed(
        alias="cleaning",
        label="Everyday: takes JPEG blocks and noise away",
        take_when="the picture is as people have them: a JPEG from the web or a phone, noisy, a scan",
        faithful="everyday-faithful",
    ),
    "everyday-faithful": Boxed(
        alias="cleaning-faithful",
        label="Everyday and faithful: takes blocks and noise away, adds nothing",
        take_when="as everyday, where nothing may be invented: smoother",
    ),
    "srgan": Boxed(
        alias="crisp",
        label="Crisp: adds texture",
        take_when="the picture is clean and should look crisp: detail is invented where it was lost",
        faithful="srresnet",
    ),
    "srresnet": Boxed(
        alias="faithful",
        label="Faithful: adds nothing and is softer",
        take_when="every pixel should be as near to the truth as can be: smooth, the highest PSNR",
    ),
    "srgan-fast": Boxed(
        alias="crisp-fast",
        label="Crisp, faster",
        take_when="as srgan, where time matters more: 5 blocks, not 16",
        faithful="srresnet-fast",
    ),
    "srresnet-fast": Boxed(
        alias="faithful-fast",
        label="Faithful, faster",
        take_when="as srresnet, where time matters more: 5 blocks, not 16",
    ),
}


def name_of(name_or_alias: str) -> str | None:
    """The name of the generator in the box that this names, by its name or its alias; None if it names none."""
    if name_or_alias in GENERATORS:
        return name_or_alias
    return next((name for name, boxed in GENERATORS.items() if boxed.alias == name_or_alias), None)


def all_names() -> list[str]:
    """Names and aliases."""
    return [*GENERATORS, *(boxed.alias for boxed in GENERATORS.values())]


def path_of(name: str) -> Path:
    """The file of the generator ``name``."""
    return FOLDER / f"{name}.safetensors"


def table() -> str:
    """Which there are and when to take which, for a terminal."""
    lines = [["name", "or", "take it when"]]
    lines += [[name, boxed.alias, boxed.take_when] for name, boxed in GENERATORS.items()]
    return text_tables.markdown(lines, left=[True] * 3)


def check(path: Path) -> None:
    """Compare a file in the box with its line in ``SHA256SUMS``.

    Raises:
        SRGANError: it is not what was shipped.
    """
    listed = (path.parent / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    expected = {name: digest for digest, name in (line.split() for line in listed)}
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if expected.get(path.name) != digest:
        raise SRGANError(f"{path}: damaged (its SHA-256 is {digest}); install srgan_lit again")
