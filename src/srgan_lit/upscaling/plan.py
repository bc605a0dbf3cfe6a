"""What becomes what: the pictures that are meant, where their results go, what is passed over. No torch, no Pillow."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from srgan_lit.common.errors import UsageError
from srgan_lit.pictures import find, formats, video_files


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture or video: from where to where."""

    source: Path
    target: Path

    @property
    def video(self) -> bool:
        """Whether it is one."""
        return self.source.suffix.lower() in video_files.RESULTS


@dataclass(kw_only=True)
class Plan:
    """What to do, in order.

    Attributes:
        jobs: what becomes what.
        failures: what cannot be done, one line each.
        passed_over: files in folders that are not meant, and why.
    """

    jobs: list[Job] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)


def plan(
    inputs: Sequence[str],
    output: Path | None,
    *,
    addition: str = "",
    suffix: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> Plan:
    """What to do with ``inputs``. Nothing is read or written yet.

    Args:
        inputs: files, folders and patterns.
        output: a folder, or a file for one input; None puts a result beside its input, and those of a folder into one
            beside the folder.
        addition: to the name of each result; without an ``output``, to that of a folder.
        suffix: of all pictures' results; None for those of their inputs.
        overwrite: whether results that exist are replaced.
        skip_existing: whether they are left.

    Raises:
        UsageError: two results would have the same name, a result would replace an input, one exists and neither
            ``overwrite`` nor ``skip_existing`` was given, or ``output`` is nothing that results can be written to.
    """
    result = Plan()
    to_file = output is not None and _is_file(output)
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            folder = output if output is not None else path.resolve().with_name(path.resolve().name + addition)
            contents = find.contents(path, besides=folder)
            names = [(file, file.relative_to(path)) for file in contents.pictures]
            result.passed_over += contents.others
            result.failures += contents.unreadable
            if not names and not contents.unreadable:
                result.failures.append(f"{given}: no pictures in this folder{_instead(contents.others)}")
        elif os.path.lexists(path):
            folder, names = output or path.parent, [(path, Path(path.name))]
        else:
            matches = sorted(Path(match) for match in glob.glob(given, recursive=True) if not Path(match).is_dir())  # noqa: PTH207
            if not matches:
                result.failures.append(f"{given}: no such file")
            for match in matches:
                _add(result, match, (output or match.parent) / _name(match.name, addition, suffix), output, to_file)
            continue
        named = addition if output is not None or not path.is_dir() else ""  # else it is in the folder's name
        for source, name in names:
            _add(result, source, folder / _name(name, named, suffix), output, to_file)
    result.jobs = _once(result.jobs)
    if output is None:
        _pass_over_results(result)
    if to_file and len(result.jobs) > 1:
        raise UsageError(f"{len(result.jobs)} pictures cannot all become {output}: give a folder")
    if to_file and suffix and output is not None and output.suffix.lower() != suffix:
        raise UsageError(f"--format {suffix[1:]} contradicts the name {output}")
    for job in result.jobs:
        if job.video == formats.is_picture(job.target):
            raise UsageError(f"{job.source} cannot become {job.target}: a video becomes a video, a picture a picture")
    existing = {job for job in result.jobs if _identity(job.target)}  # whose name may be too long for a file
    _refuse_clashes(result.jobs, skipped=existing if skip_existing else set())
    if existing and not overwrite and not skip_existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        first = next(job for job in result.jobs if job in existing)
        raise UsageError(f"{first.target} exists{more}: add --skip-existing or --overwrite")
    if skip_existing:
        result.jobs = [job for job in result.jobs if job not in existing]
    return result


def _is_file(output: Path) -> bool:
    """Whether ``output`` names a file rather than a folder; refuses what is called like neither."""
    if output.is_dir():
        return False
    ending = output.suffix.lower()
    if ending in formats.WRITTEN or ending in video_files.RESULTS.values():
        return True
    if str(output) == "-":
        raise UsageError("-o -: results are files, not a stream; name a file or a folder (./- for one called so)")
    if ending in formats.BY_SUFFIX or ending in formats.OTHERS or ending in video_files.RESULTS:
        takes = ", ".join(sorted({*formats.WRITTEN, *video_files.RESULTS.values()}))
        raise UsageError(f"-o {output}: {ending} is not written; name a folder, or a file that ends with {takes}")
    return False


def _name(name: str | Path, addition: str, suffix: str | None) -> Path:
    """A result's name after its input's."""
    path = Path(name)
    ending = path.suffix.lower()
    known = formats.BY_SUFFIX.get(ending)
    ending = video_files.RESULTS.get(ending) or suffix or (known.becomes if known else "") or path.suffix
    return path.with_name(path.stem + addition + ending) if path.stem else path


def _add(result: Plan, source: Path, target: Path, output: Path | None, to_file: bool) -> None:
    target = output if to_file and output is not None else target
    if target.suffix.lower() not in {*formats.WRITTEN, *video_files.RESULTS.values()}:
        kinds = ", ".join(dict.fromkeys(each.name for each in formats.BY_SUFFIX.values()))
        result.failures.append(
            f"{source}: no name of a picture that can be read ({kinds}); with --format png it is tried all the same"
        )
        return
    result.jobs.append(Job(source=source, target=target))


def _instead(others: Sequence[tuple[Path, str]]) -> str:
    return f" ({len(others)} other files: {others[0][0].name}, {others[0][1]})" if others else ""


def _once(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, of which each is done once: ``a.jpg *.jpg`` names a picture twice."""
    by_files: dict[tuple[str, Path], Job] = {}
    for job in jobs:
        by_files.setdefault((os.path.realpath(job.source), job.target), job)
    return list(by_files.values())


def _pass_over_results(result: Plan) -> None:
    """Inputs that are called like results of other inputs: those of an earlier command, which a pattern takes in."""
    job_by_target = {_normal(job.target): job for job in result.jobs}
    maker_by_job = {job: job_by_target.get(_normal(job.source)) for job in result.jobs}
    result.passed_over += [(job.source, f"the result of {by.source.name}") for job, by in maker_by_job.items() if by]
    result.jobs = [job for job, by in maker_by_job.items() if by is None]


def _normal(path: Path) -> str:
    # Case-insensitive: some file systems are.
    return os.path.normcase(os.path.realpath(path)).lower()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _refuse_clashes(jobs: Sequence[Job], *, skipped: set[Job]) -> None:
    sources = {_identity(job.source): job.source for job in jobs}
    by_target: dict[str, Job] = {}
    for job in jobs:
        replaced = sources.get(at) if (at := _identity(job.target)) else None
        if replaced is not None and _identity(job.source) == at:
            raise UsageError(f"{job.target} is the input itself: give another -o")
        if replaced is not None and job not in skipped:
            raise UsageError(f"{job.target}, the result of {job.source}, is itself an input: give another -o")
        other = by_target.setdefault(_normal(job.target), job)
        if other is not job:
            raise UsageError(
                f"{other.source} and {job.source} would both become {job.target}: rename one of them, or enlarge them "
                "by two commands into two folders (-o)"
            )
