"""Files as disks, networks and enemies leave them: cut, changed, with parts of their own or of others in the middle."""

import contextlib
import resource
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# Lengths and counts in file formats are of these sizes; such values are where decoders fail.
EXTREMES = [b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"]
EXTREMES += [b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"{", b'"', b"\n", b"\xc3\x28"]


@st.composite
def mutated(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """One of ``whole`` with one to five harms. Half of them fall into the first 200 bytes: headers."""
    content = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 5))):
        end = len(content)
        at = draw(st.one_of(st.integers(0, min(end, 200)), st.integers(0, end)))
        kind = draw(
            st.sampled_from(["flip", "flip", "extreme", "extreme", "cut", "remove", "repeat", "insert", "splice"])
        )
        if kind == "flip" and at < end:
            content[at] ^= draw(st.integers(1, 255))
        elif kind == "extreme":
            value = draw(st.sampled_from(EXTREMES))
            content[at : at + len(value)] = value
        elif kind == "cut":
            del content[max(at, 1) :]
        elif kind == "remove":
            del content[at : at + draw(st.integers(1, 64))]
        elif kind == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 256))] * draw(st.integers(1, 20))
        elif kind == "insert":
            content[at:at] = draw(st.binary(max_size=32))
        elif kind == "splice":
            other = draw(st.sampled_from(whole))
            start = draw(st.integers(0, len(other)))
            content[at:at] = other[start : start + draw(st.integers(1, 512))]
    return bytes(content)


def attack(whole: Sequence[bytes], check: Callable[[bytes], None], *, times: int) -> None:
    """Call ``check`` with ``times`` mutated files, the same in every run; none may hang, nor take a gigabyte."""

    @settings(
        max_examples=times,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(mutated(whole))
    def once(content: bytes) -> None:
        with hung_after(60), warnings.catch_warnings():
            warnings.simplefilter("error")  # a warning is a line on stderr, and not ours
            check(content)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    once()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20  # from KiB
    assert grown < 1, f"{grown:.2f} GiB more memory"


@contextlib.contextmanager
def hung_after(seconds: int) -> Iterator[None]:
    """Fail where the block takes longer: not a measurement, but an end."""

    def fail(*_: object) -> None:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
