"""How much of the source the tests hold (``make test-mutations``): one place of it is changed, and a test must fail.

cosmic-ray makes the changes. Its own runner starts an interpreter for each, which imports torch for five seconds; here
each is tested in a process forked from one that has imported it, and the changed text is only ever in that process:
no file of the tree is written. What was found is kept in ``build/mutants.jsonl``: a run that was interrupted goes on,
and only changes of the source, or of the tests where a mutant survived, are tried again.
"""

import argparse
import ast
import collections
import contextlib
import functools
import hashlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "srgan_lit"
FOUND = ROOT / "build" / "mutants.jsonl"
SEED, AT_MOST, SHARE = 20170525, 320, 0.95
LIMIT_S = 45  # a mutant that takes longer never ends: killed

# What is changed, and the tests that must notice.
TARGETS = {
    "evaluation/metrics.py": ["evaluation/test_metrics.py", "evaluation/test_shaves.py"],
    "losses/adversarial.py": ["losses"],
    "losses/artefacts.py": ["losses"],
    "losses/gradient_penalty.py": [
        "training/test_discriminator_options.py::test_r1_is_half_the_squared_slope_at_real_crops",
        "training/test_discriminators.py::test_r1_of_many_logits_is_that_of_their_mean",
    ],
    "losses/pixel.py": ["losses"],
    "losses/perceptual.py": ["losses"],
    "losses/terms.py": ["losses"],
    "data/degradations.py": ["data/test_degradation_values.py", "data/test_degradations.py"],
    "data/second_order.py": ["data/test_degradation_values.py", "data/test_second_order.py"],
    "data/splits.py": ["data/test_splits.py"],
    "data/batch_order.py": ["data/test_order_by_seed.py", "data/test_batch_order.py", "data/test_reuse.py"],
    "upscaling/tiling.py": ["upscaling/test_tiling.py"],
    "pictures/bicubic.py": ["pictures/test_bicubic.py"],
    "training/updates.py": ["training/test_optimization.py"],
    "training/schedules.py": ["training/test_module.py"],
}

# Changes that once went unnoticed, made by hand: file, text, what it becomes, and the tests that must notice.
BY_HAND = [
    ("data/samples.py", "default_rng((self.seed, position, 0))", "default_rng((self.seed, 0))",
     ["data/test_degradation_values.py"]),
    ("data/degradations.py", "rng.uniform(*SHOT_SCALE) * strength", "rng.uniform(*SHOT_SCALE)",
     ["data/test_degradation_values.py"]),
    ("data/degradations.py", "np.diag(1 / sigmas**2)", "np.diag(1 / sigmas)", ["data/test_degradation_values.py"]),
    ("data/second_order.py", "np.diag(1 / sigmas**2)", "np.diag(1 / sigmas)", ["data/test_degradation_values.py"]),
    ("data/degradations.py", "if rng.random() < TWICE:", "if rng.random() < 0:", ["data/test_degradation_values.py"]),
    ("data/packed_cache.py", "stat.st_mtime_ns, stat.st_ctime_ns,", "stat.st_mtime_ns,",
     ["data/test_cache_sees_changes.py"]),
    ("upscaling/model_choice.py", "BLOCK_STEP, BLOCK_RATIO = 1.8,", "BLOCK_STEP, BLOCK_RATIO = 3.0,",
     ["upscaling/test_limits_and_edges.py"]),
    ("networks/initialisation.py", "block * generator.blocks // smaller.blocks for", "block for",
     ["upscaling/test_limits_and_edges.py"]),
    ("upscaling/engine.py", "generator.receptive_radius + 3 ", "generator.receptive_radius ",
     ["upscaling/test_limits_and_edges.py"]),
]  # fmt: skip

# Another operator in place of each: the eleven others would be killed by the same test.
OTHER = {
    "Add": "Sub", "Sub": "Add", "Mul": "Div", "Div": "Mul", "FloorDiv": "Mul", "Mod": "Mul", "Pow": "Mul",
}  # fmt: skip

# Not to be told from the original by what they do: a part of the changed line (``+``), and why.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("training/updates.py", "first = ema.n_averaged <= 0"): "a count is never negative",
    ("training/updates.py", "ema.n_averaged < 1"): "a count is whole and never negative",
    ("data/second_order.py", 'if form >= "plateau"'): "the last of the kinds in sort order",
    ("data/second_order.py", "copy=True"): "of numbers that are used once",
    ("losses/perceptual.py", 'self.kind >= "mse"'): "of l1 and mse the last in sort order",
    ("training/schedules.py", 'optimizer <= "discriminator"'): "of the three names the first in sort order",
    ("data/batch_order.py", "use >= self.reuse - 1"): "that is the last use",
    ("data/degradations.py", "if how <= 0"): "0, 1 or 2",
    ("data/degradations.py", "rng.random() <= 0.5"): "a draw is the limit itself once in 2 ** 53",
    ("data/second_order.py", "rng.random() <="): "likewise",
    ("data/second_order.py", "chance <= order.larger + order.smaller"): "likewise",
    ("data/second_order.py", "kernel.shape[- 2]"): "kernels are square",
    ("data/second_order.py", "side += 2"): "a transform of another length gives the same convolution",
    ("data/splits.py", "if first < second"): "they are sorted",
    ("evaluation/metrics.py", "in sr.shape[2:]"): "of four dimensions the last two",
    ("upscaling/tiling.py", "= image.shape[2:]"): "of four dimensions the last two",
    ("upscaling/tiling.py", "if tile > max("): "one tile is the whole picture",
    ("upscaling/tiling.py", "if tile == max("): "one tile is the whole picture, whatever its side",
}


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the line, the text of the whole file after it, and what kind of change it is."""

    file: str
    line: int
    text: str
    kind: str
    tests: tuple[str, ...]

    @property
    def changed(self) -> str:
        return self.text.splitlines()[self.line - 1].strip()

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.file}\0{self.text}".encode()).hexdigest()[:20]


def _wanted(operator: str) -> bool:
    name = operator.removeprefix("core/")
    kind, _, places = name.partition("_")
    if kind == "ReplaceBinaryOperator":
        before, after = places.split("_")
        return OTHER.get(before) == after
    if kind == "ReplaceUnaryOperator":
        return places.startswith("Delete_")
    if kind == "ReplaceComparisonOperator":  # identity of small numbers and of literals is an accident
        return places in ("Is_IsNot", "IsNot_Is") or "Is" not in places
    return not name.startswith(("Variable", "NoOp"))


class _Bare(ast.NodeTransformer):
    """Without annotations and the marks ``*`` and ``/`` among parameters, which no call of a test can tell apart."""

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults = [*node.defaults, *filter(None, node.kw_defaults)]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def _shape(text: str) -> str:
    return ast.dump(_Bare().visit(ast.parse(text)))


def _places(file: str) -> Iterator[tuple[str, str, int]]:
    """(file, operator, occurrence) of all that cosmic-ray can change."""
    from cosmic_ray.ast import Visitor, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    operators = {name: get_operator(name)() for name in sorted(filter(_wanted, operator_names()))}
    counts = collections.Counter[str]()

    class Count(Visitor):
        def visit(self, node):
            for name, operator in operators.items():
                counts[name] += sum(1 for _ in operator.mutation_positions(node))
            return node

    Count().walk(get_ast((SOURCE / file).read_text(encoding="utf-8")))
    for name, count in sorted(counts.items()):
        yield from ((file, name, occurrence) for occurrence in range(count))


def _by_hand() -> Iterator[Mutant]:
    for file, old, new, tests in BY_HAND:
        text = (SOURCE / file).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise SystemExit(f"{file} has {old!r} {text.count(old)} times: BY_HAND of {__file__} is of another text")
        yield Mutant(file, text[: text.index(old)].count("\n") + 1, text.replace(old, new), "by hand", tuple(tests))


def chosen() -> list[Mutant]:
    """Those ``BY_HAND``, and at most ``AT_MOST`` of all others, the same ones as long as the source is the same."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    places = [place for file in TARGETS for place in _places(file)]
    random.Random(SEED).shuffle(places)
    texts = {file: (SOURCE / file).read_text(encoding="utf-8") for file in TARGETS}
    shapes = {(file, _shape(text)) for file, text in texts.items()}
    mutants = list(_by_hand())
    for file, operator, occurrence in places:
        text = mutate_code(texts[file], get_operator(operator)(), occurrence)
        try:
            shape = file, _shape(text)
        except SyntaxError:
            continue
        if shape in shapes:  # an annotation, or as another
            continue
        shapes.add(shape)
        before, after = texts[file].splitlines(), text.splitlines()
        line = next((n for n, (a, b) in enumerate(zip(before, after, strict=False), 1) if a != b), len(after))
        mutants.append(Mutant(file, line, text, operator.removeprefix("core/"), tuple(TARGETS[file])))
        if len(mutants) == AT_MOST + len(BY_HAND):
            break
    return mutants


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """The mutated module, in place of the file's."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = SOURCE / mutant.file
        self.name = "srgan_lit." + mutant.file.removesuffix(".py").replace("/", ".")
        self.text = mutant.text

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def get_filename(self, name):
        return str(self.path)

    def get_data(self, path):
        if Path(path) != self.path:
            raise OSError(path)  # no bytecode: the file's would be that of the text before
        return self.text.encode()


@functools.cache
def _digest(tests: tuple[str, ...]) -> str:
    """Of the tests' files."""
    content = hashlib.sha256()
    for each in tests:
        path = ROOT / "tests" / each.partition("::")[0]
        for one in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            content.update(one.read_bytes())
    return content.hexdigest()[:20]


def _child(mutant: Mutant | None, tests: tuple[str, ...], scratch: str) -> None:
    """Run the tests with the mutant (or, to know that they pass, without), and end with pytest's status."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(ROOT)
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    out = os.open(Path(scratch) / "output", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if mutant:
        sys.meta_path.insert(0, _Changed(mutant))
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not long", f"--basetemp={scratch}/tests"]
    status = 1
    try:
        status = int(pytest.main([*options, *(str(ROOT / "tests" / each) for each in tests)]))
    finally:
        sys.stdout.flush()
        os._exit(status)


def _end(child: int) -> None:
    """What the tests started too: their process group is the child's own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)


def outcomes(jobs: list[tuple[Mutant | None, tuple[str, ...]]], at_once: int, until: float) -> Iterator[tuple]:
    """Yield (mutant, tests, pytest's status or None past the limit, seconds, last lines) as they end."""
    waiting, running = list(reversed(jobs)), {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once and time.monotonic() < until:
                mutant, tests = waiting.pop()
                scratch = tempfile.TemporaryDirectory(prefix="srgan_lit-mutant-", ignore_cleanup_errors=True)
                child = os.fork()
                if child == 0:
                    _child(mutant, tests, scratch.name)
                running[child] = mutant, tests, scratch, time.monotonic()
            if not running:
                return
            for child, (mutant, tests, scratch, began) in list(running.items()):
                ended, status = os.waitpid(child, os.WNOHANG)
                late = time.monotonic() - began > LIMIT_S
                if not ended and not late:
                    continue
                _end(child)
                if not ended:
                    os.waitpid(child, 0)
                del running[child]
                said = (Path(scratch.name) / "output").read_text(errors="replace").splitlines()[-5:]
                scratch.cleanup()
                code = os.waitstatus_to_exitcode(status) if ended else None
                yield mutant, tests, code, time.monotonic() - began, said
            time.sleep(0.02)
    finally:
        for child in running:
            _end(child)
            os.waitpid(child, 0)


def _known() -> dict[str, dict]:
    if not FOUND.is_file():
        return {}
    rows = [json.loads(line) for line in FOUND.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {row["key"]: row for row in rows}


def _warm() -> None:
    """What tests import, but for this package."""
    for name in ("torch", "torchvision", "lightning.pytorch", "torchmetrics", "hydra", "hypothesis", "PIL.Image",
                 "pytest", "yaml", "psutil", "requests", "pydantic", "safetensors.torch", "tifffile", "imagecodecs",
                 "torch._dynamo", "wandb", "torch.utils.data"):  # fmt: skip
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)


def main() -> int:
    """Exit status 1: less than ``SHARE`` are killed; 2: the tests fail without a mutant; 3: not all are tried yet."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then; the next run goes on")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tried at the same time")
    parser.add_argument("--part", default="1/1", help="e.g. 1/2 and 2/2: each half by a process of its own")
    parser.add_argument("--only", default="", help="only those whose kind or file contains this, e.g. by hand")
    arguments = parser.parse_args()
    until = time.monotonic() + arguments.seconds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what ends the children
    os.environ.pop("SRGAN_LIT_DATA", None)  # the share does not depend on who has it
    mutants = [mutant for mutant in chosen() if arguments.only in f"{mutant.kind}: {mutant.file}"]
    part, parts = map(int, arguments.part.split("/"))
    mutants = mutants[part - 1 :: parts]
    counted = [m for m in mutants if not any(m.file == f and part in m.changed for f, part in EQUIVALENT)]
    known = _known()

    def settled(mutant: Mutant) -> bool:
        row = known.get(mutant.key)
        return row is not None and (row["killed"] or row["tests"] == _digest(mutant.tests))

    left = [mutant for mutant in counted if not settled(mutant)]
    print(
        f"{len(mutants)} mutants, {len(mutants) - len(counted)} of them equivalent; {len(left)} to be tried", flush=True
    )
    FOUND.parent.mkdir(exist_ok=True)
    _warm()
    with FOUND.open("a", encoding="utf-8") as found:
        source = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(SOURCE.rglob("*.py")))).hexdigest()
        whole = {tests: f"{source[:20]} {_digest(tests)}" for tests in dict.fromkeys(mutant.tests for mutant in left)}
        first = [(None, tests) for tests, key in whole.items() if key not in known]
        for mutant, tests, code, seconds, said in outcomes(
            [*first, *((mutant, mutant.tests) for mutant in left)], arguments.jobs, until
        ):
            if mutant is None:
                if code != 0:
                    print(f"{' '.join(tests)}: they fail without a mutant", *said, sep="\n", file=sys.stderr)
                    return 2
                row = {"key": whole[tests], "s": round(seconds, 1)}
            else:
                row = {
                    "key": mutant.key, "killed": code != 0, "tests": _digest(tests), "s": round(seconds, 1),
                    "code": code,
                    "at": f"{mutant.file}:{mutant.line}", "kind": mutant.kind, "text": mutant.changed,
                }  # fmt: skip
                known[mutant.key] = row
            print(json.dumps(row), file=found, flush=True)
    tried = [known[mutant.key] for mutant in counted if settled(mutant)]
    for row in sorted((row for row in tried if not row["killed"]), key=lambda row: row["at"]):
        print(f"survived: {row['at']}  {row['kind']}  {row['text']}")
    killed = sum(row["killed"] for row in tried)
    print(f"{killed} of {len(tried)} killed ({killed / max(1, len(tried)):.1%}), {sum(r['s'] for r in tried):.0f} s")
    if len(tried) < len(counted):
        print(f"{len(counted) - len(tried)} are left: the same command goes on")
        return 3
    return int(killed < SHARE * len(tried))


if __name__ == "__main__":
    sys.exit(main())
