"""Errors for users: one line, and an exit status.

Every message is one line: what is wrong, why, and what to type next. Commands print it to stderr
without a traceback (``--debug`` shows one).
"""


class SRGANError(Exception):
    """Something could not be done: exit status 1. The text is for the user."""

    exit_status = 1


class UsageError(SRGANError, ValueError):
    """What was asked for is wrong or contradictory; nothing was started: exit status 2."""

    exit_status = 2
