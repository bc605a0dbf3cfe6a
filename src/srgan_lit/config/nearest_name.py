"""The nearest known name to a misspelt one."""

import difflib
from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str:
    """`` Did you mean …?``, or nothing when no candidate is near. Dotted names are compared by their ending too."""
    candidates = list(candidates)
    same_ending = [c for c in candidates if c.rpartition(".")[2] == name.rpartition(".")[2]]
    near = same_ending or difflib.get_close_matches(name, candidates, n=1, cutoff=0.55)
    if not near:
        endings = {c.rpartition(".")[2]: c for c in candidates}
        near = [endings[e] for e in difflib.get_close_matches(name.rpartition(".")[2], endings, n=1, cutoff=0.6)]
    return f" Did you mean {near[0]}?" if near else ""
