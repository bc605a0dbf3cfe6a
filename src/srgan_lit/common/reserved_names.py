"""Names with a meaning of their own (``srgan``, ``bicubic``, ``sample``), and files or folders of the same name."""

import os

from srgan_lit.common.errors import UsageError


def refuse_if_also_a_path(name: str, meaning: str) -> None:
    """A bare name of ours means ours, and ``./name`` what is here; where there are both, neither is guessed.

    Args:
        name: as it was typed.
        meaning: what it is of ours, as in ``the model in the box``.

    Raises:
        UsageError: a file or folder of this name is in the working directory.
    """
    if os.path.lexists(name):
        kind = "folder" if os.path.isdir(name) else "file"  # noqa: PTH112 (a Path would lose the ./)
        raise UsageError(
            f"{name}: both {meaning} and a {kind} here; write {os.path.join('.', name)} for the {kind}, "  # noqa: PTH118
            f"or start this in another folder for {meaning}"
        )
