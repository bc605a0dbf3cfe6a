"""One line for failures of the machine: full disks, too little memory, killed processes. No torch."""

import errno
import re

from srgan_lit.common.errors import SRGANError

_ROOM = "make room there, or name a folder on another disk"
_RIGHTS = "change its permissions, or name another folder"
_REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "the limit of this process for one file (ulimit -f); raise it",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOENT: "it, or its folder, was moved or removed",
    errno.EIO: "the disk fails: look for a copy",
    errno.EMFILE: "too many files are open (ulimit -n); raise it",
}
# Errors that torch raises as RuntimeError, by what they say.
_MEMORY = re.compile(r"can't allocate memory|out of memory|Cannot allocate memory", re.IGNORECASE)
_FROM_WORKER = re.compile(r"^Caught SRGANError in DataLoader worker.*\n[\w.]+: (.+?)\s*$", re.DOTALL)
_WORKER = re.compile(r"DataLoader worker .*(killed by signal|exited unexpectedly)", re.DOTALL)
_COMPILER = re.compile(r"InvalidCxxCompiler|Failed to find C compiler")


def explain(error: BaseException) -> SRGANError | None:
    """The line to print for a failure of the machine; None for any other error."""
    if isinstance(error, SRGANError):
        match = _FROM_WORKER.match(str(error))  # torch puts a worker's traceback before it
        return SRGANError(match[1]) if match else None
    if isinstance(error, OSError):
        if error.errno is None:
            return SRGANError(str(error) or type(error).__name__)
        remedy = _REMEDIES.get(error.errno)
        place = f"{error.filename}: " if error.filename else ""
        return SRGANError(f"{place}{error.strerror}{f' ({remedy})' if remedy else ''}")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(str(error))):
        return SRGANError(
            "out of memory: end other programs, or ask for less at once (smaller tiles, batches or crops)"
        )
    if isinstance(error, RuntimeError) and _COMPILER.search(str(error)):
        return SRGANError("compile=true needs a C++ compiler, and none was found: install one (g++), or leave it out")
    if isinstance(error, RuntimeError) and _WORKER.search(str(error)):
        return SRGANError("a process of data.workers was killed, perhaps for want of memory; data.workers=0 needs none")
    return None
