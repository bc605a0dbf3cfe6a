"""Files appear whole or not at all: written under a temporary name beside the target, then moved."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; on success it becomes ``target``.

    The temporary name is hidden and ends with the target's own suffix, so that writers which go by the
    suffix work. The content is on the disk (fsync) before the move. If the block raises, the temporary
    file is removed and whatever stood at ``target`` is untouched. Permissions are those of a newly
    made file (umask), not mkstemp's 0600.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.stem[:100]}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(target: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` (UTF-8) to ``target``, whole or not at all."""
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
