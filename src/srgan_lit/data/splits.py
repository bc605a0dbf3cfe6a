"""The split of albums into training and validation, by a hash of their names. Published scores depend on it."""

import hashlib
from collections.abc import Iterable, Mapping


def joined(albums: Mapping[str, str], contents: Mapping[str, str]) -> dict[str, str]:
    """The album of each picture, where albums that show the same picture are one, called as the first in sort order.

    Args:
        albums: by the picture's name.
        contents: what it shows, likewise, where that is known.
    """
    called: dict[str, str] = {}  # the name that an album goes by now

    def name_of(album: str) -> str:
        while album in called:
            album = called[album]
        return album

    shown_in: dict[str, str] = {}
    for name in albums.keys() & contents.keys():
        first, second = sorted(map(name_of, (albums[name], shown_in.setdefault(contents[name], albums[name]))))
        if first != second:
            called[second] = first
    return {name: name_of(album) for name, album in albums.items()}


def held_out(albums: Iterable[str], share: float) -> set[str]:
    """Which albums are for validation: those whose name hashes into the first ``share`` of the hash's range.

    Each album is judged by its name alone, so it stays where it is when others are added. If none (or every
    one) falls there, the nearest is moved, so that both sides have at least one.

    Raises:
        ValueError: fewer than two albums.
    """
    ranked = sorted(set(albums), key=_hash)
    if len(ranked) < 2:
        raise ValueError("fewer than two albums")
    count = sum(_hash(album) < share for album in ranked)
    return set(ranked[: min(max(count, 1), len(ranked) - 1)])


def _hash(album: str) -> float:
    """A number in [0, 1), uniform over names, the same on every machine."""
    return int.from_bytes(hashlib.sha256(album.encode("utf-8", "surrogateescape")).digest()[:6], "big") / 2**48
