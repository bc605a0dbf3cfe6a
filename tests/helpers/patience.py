"""How long tests wait for what an idle machine does at once. No test asserts a time: this ends what hangs."""

import time

HANGS_SECONDS = 900


def until(condition, *, every=0.02):
    """What ``condition`` returns as soon as it is true."""
    for _ in range(int(HANGS_SECONDS / every)):
        if value := condition():
            return value
        time.sleep(every)
    raise AssertionError(f"nothing within {HANGS_SECONDS} s")
