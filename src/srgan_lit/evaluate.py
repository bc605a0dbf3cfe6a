"""Compare models on test pictures: ``python -m srgan_lit.evaluate --model M [M …] --data D [D …] --out DIR``."""

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_lit.common import command_line, freed_memory
from srgan_lit.common.errors import SRGANError, UsageError
from srgan_lit.common.numbers import whole_number

if TYPE_CHECKING:
    from srgan_lit.data.learnt_from import LearntFrom
    from srgan_lit.data.sets import TestSet
    from srgan_lit.evaluation.columns import Measure
    from srgan_lit.upscaling.upscalers import Upscaler


def build_parser() -> argparse.ArgumentParser:
    """Everything that the command takes."""
    parser = command_line.parser(
        "evaluate",
        "Score every model on every data set: a table, results.json, .md and .tex, images.csv, comparison.png and "
        "report.html, which any browser opens without a network.",
        epilog="Example: srgan-evaluate --model bicubic srgan --data Set5/ Set14/ --out scores/",
    )
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="M",
        help="name in the box (srgan-upscale --list-models), .safetensors, run directory, .ckpt, auto or bicubic; the "
        "first says which pictures are hard",
    )
    command_line.add_network(parser)
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="D",
        help="folder of originals or of pairs in a layout in use (HR/ and LRx4/, DIV2K's, GTmod12/ and LRbicx4/, "
        "…_HR.png and …_LR.png, CUFED5), or sample: the embedded pictures; how it is understood is said",
    )
    parser.add_argument("--hr", type=Path, metavar="DIR", help="folder whose pictures are all originals, in no layout")
    parser.add_argument(
        "--lr",
        metavar="DIR|pil",
        help="folder with the LR files of --hr, called the same; or pil: make all LR by Pillow's bicubic, as papers' "
        "code for CUFED5 does, instead of MATLAB's",
    )
    parser.add_argument(
        "--degradation",
        nargs="+",
        default=["bicubic"],
        metavar="KIND",
        help="score every data set once for each way to make LR, the same in every run: any of data.degradation, such "
        "as everyday, mixed, blur_jpeg50, noise_jpeg70, jpeg30, jpeg60 and jpeg85, or bicubic, which takes files of LR "
        "where there are any (default: bicubic)",
    )
    parser.add_argument(
        "--held-out",
        nargs="+",
        default=[],
        metavar="D",
        help="folder that models were trained on: only the pictures that the training held out",
    )
    parser.add_argument(
        "--validation-share",
        type=command_line.share(ends=False),
        default=0.05,
        metavar="SHARE",
        help="data.validation_share of that training (default: 0.05)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go; made if missing")
    parser.add_argument(
        "--protocol",
        metavar="P",
        help="y_shaveN, y_full or rgb_full (default: y_shave4 at x4, the papers', y_shave2 at x2, y_shave8 at x8); for "
        "CUFED5 y_full is shown too",
    )
    parser.add_argument(
        "--scale", type=whole_number, choices=(2, 4, 8), help="of bicubic, where no other model has one (default: 4)"
    )
    parser.add_argument(
        "--lpips",
        nargs="?",
        const="alex",
        metavar="BACKBONE",
        help="add LPIPS: alex (default), vgg or squeeze, downloaded once by torchvision, or a file with its weights",
    )
    parser.add_argument(
        "--perceptual",
        metavar="WEIGHTS",
        help="add the distance of VGG features: a file with VGG19's or VGG16's, or imagenet (downloaded once)",
    )
    parser.add_argument(
        "--into",
        type=Path,
        metavar="PAGE.md",
        help="also put the table into this page, between its lines <!-- srgan-evaluate begins --> and "
        "<!-- srgan-evaluate ends -->",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace scores that DIR holds (default: refuse)")
    parser.add_argument("--save-images", action="store_true", help="write what each model makes as PNG into DIR/images")
    parser.add_argument(
        "--show",
        type=whole_number,
        default=6,
        metavar="N",
        help="pictures of each data set that the report shows, the hardest ones (default: 6)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    return parser


def distinct(paths: Sequence[Path]) -> list[str]:
    """A short name for each path: its last part (a file's without suffix), with as many folders before it as it takes.

    ``runs/a/generator.safetensors`` and ``runs/b/generator.safetensors`` are ``a/generator`` and ``b/generator``.
    """
    stems = [path.with_suffix("") if path.is_file() else path for path in paths]
    # x.ckpt and x.safetensors keep their suffixes.
    kept = [path if stems.count(stem) > 1 else stem for path, stem in zip(paths, stems, strict=True)]
    parts = [path.relative_to(path.anchor).parts for path in kept]
    length = [1] * len(parts)
    while True:
        names = ["/".join(part[-n:]) for part, n in zip(parts, length, strict=True)]
        count = Counter(names)
        longer = [count[name] > 1 and n < len(part) for name, n, part in zip(names, length, parts, strict=True)]
        if not any(longer):
            return names
        length = [n + more for n, more in zip(length, longer, strict=True)]


def _once(given: Sequence[str], option: str, named: Collection[str] = ()) -> dict[str, Path]:
    """What was given, each once, and its path; those ``named`` are no paths. What was given again is said."""
    name_by_path: dict[Path, str] = {}
    for name in given:
        path = Path(name) if name in named else Path(name).resolve()
        if path in name_by_path:
            command_line.complain(f"{option} {name} was given before: evaluated once")
        name_by_path.setdefault(path, name)
    return {name: path for path, name in name_by_path.items()}


def _names(given: dict[str, Path]) -> dict[str, str]:
    return dict(zip(given, distinct(list(given.values())), strict=True))


def _models(names: dict[str, str], arguments: argparse.Namespace) -> tuple[dict[str, "Upscaler"], list[str]]:
    """The models by display name, and what could not be loaded (one line each)."""
    from srgan_lit.config import own_parts
    from srgan_lit.model_files import generator_file
    from srgan_lit.pictures import bicubic_tensors
    from srgan_lit.upscaling import engine, model_choice, named_models, upscalers

    chosen, scale = engine.pick_device(arguments.device), arguments.scale
    network = own_parts.named_class(arguments.network)
    loaded: list[object] = []
    networks: dict[str, Upscaler | None] = {}
    failures = []
    for given, name in names.items():
        try:
            if model_choice.is_auto(given):
                networks[name] = upscalers.Auto(device=chosen)
            elif generator_file.is_bicubic(given):
                networks[name] = None
            else:
                generator = generator_file.load_generator(given, network=network)
                networks[name] = upscalers.Network(generator, device=chosen)
                loaded.append(generator)
        except UsageError:
            raise
        except SRGANError as error:
            failures.append(str(error))
    if not networks:
        raise SRGANError("; ".join(failures))
    if not failures:
        named_models.refuse_unused(network, loaded)
    scales = [network.scale for network in networks.values() if network]
    if scale and scales and scale != scales[0]:
        raise UsageError(f"--scale {scale}, but the models are x{scales[0]}; leave --scale out")
    baseline = bicubic_tensors.Bicubic(scales[0] if scales else scale or 4)
    return {name: network or baseline for name, network in networks.items()}, failures


def _learnt(names: dict[str, str]) -> tuple[dict[str, "LearntFrom"], list[str]]:
    """What the models were trained on, by display name, and a line for each whose record cannot be read."""
    from srgan_lit.data import learnt_from
    from srgan_lit.model_files import generator_file
    from srgan_lit.upscaling import model_choice

    learnt, unknown = {}, []
    for given, name in names.items():
        if model_choice.is_auto(given) or generator_file.is_bicubic(given):
            continue
        try:
            learnt[name] = learnt_from.of_model(generator_file.find_model(given))
        except SRGANError as error:
            unknown.append(f"{name}: {error}")
    return learnt, unknown


def _sets(arguments: argparse.Namespace, scale: int) -> tuple[list["TestSet"], list[str]]:
    """The data sets, each under its own name, and one line for each folder that cannot be read.

    Says how each set was understood.
    """
    from dataclasses import replace

    from srgan_lit.data import sets

    given = _once(arguments.data, "--data", {"sample"})
    held_out = _once(arguments.held_out, "--held-out")
    paths = [*given.values(), *held_out.values(), *([arguments.hr.resolve()] if arguments.hr else [])]
    remarks = [""] * len(given) + [", held out"] * len(held_out) + [""] * bool(arguments.hr)
    by_pillow = _by_pillow(arguments)

    opening: list[Callable[[], TestSet]] = [functools.partial(sets.test_pairs, folder, scale) for folder in given]
    share = arguments.validation_share
    opening += [functools.partial(sets.held_out_pairs, folder, scale, share) for folder in held_out]
    if arguments.hr:
        lr = None if by_pillow else arguments.lr
        opening.append(functools.partial(sets.test_pairs_of_two, arguments.hr, lr, scale))
    opened, failures = [], []
    for open_set, name, remark in zip(opening, distinct(paths), remarks, strict=True):
        try:
            test_set = replace(open_set(), name=name + remark)
        except UsageError:
            raise
        except SRGANError as error:
            failures.append(str(error))
            continue
        opened.append(test_set)
        failures += test_set.unreadable
        if test_set.understood:
            command_line.complain(f"{test_set.name}: {test_set.understood}{_about_lr(test_set, by_pillow=by_pillow)}")
    if not opened:
        raise SRGANError("; ".join(failures))
    if by_pillow:
        opened = [replace(each, name=f"{each.name} (LR by Pillow)", degradation=sets.PIL) for each in opened]
        return opened, failures
    return [
        replace(each, name=each.name if kind == "bicubic" else f"{each.name} ({kind})", degradation=kind)
        for kind in dict.fromkeys(arguments.degradation)
        for each in opened
    ], failures


def _by_pillow(arguments: argparse.Namespace) -> bool:
    """Whether ``--lr pil`` was given: no folder, unless it is written ``./pil``."""
    from srgan_lit.common import reserved_names

    if arguments.lr != "pil":
        return False
    reserved_names.refuse_if_also_a_path("pil", "Pillow's bicubic")
    return True


def _about_lr(test_set: "TestSet", *, by_pillow: bool) -> str:
    """Of CUFED5, how its LR comes about, which its papers' tables depend on."""
    if not test_set.benchmark:
        return ""
    return " by Pillow's bicubic, as in its papers" if by_pillow else " by MATLAB's bicubic; its papers: --lr pil"


def _extra(arguments: argparse.Namespace) -> list["Measure"]:
    from srgan_lit.evaluation import columns
    from srgan_lit.upscaling import engine

    extra, device = [], engine.pick_device(arguments.device)
    if arguments.perceptual:
        extra.append(columns.perceptual(arguments.perceptual, device=device))
    if arguments.lpips:
        extra.append(columns.lpips(arguments.lpips, device=device))
    return extra


def _into(page: Path | None, table: str) -> None:
    """Put the table into a page; without a table only see that it takes one."""
    from srgan_lit.common import atomic_files
    from srgan_lit.evaluation import results

    if page is None:
        return
    try:
        text = results.with_table(page.read_text(encoding="utf-8"), table)
    except ValueError as error:
        raise UsageError(f"--into {page}: {error}") from error
    if table:
        atomic_files.write_text(page, text)


def run(arguments: argparse.Namespace) -> int:
    """The command, after parsing; returns the exit status."""
    if arguments.show < 0:
        raise UsageError(f"--show {arguments.show}: 0 or more")
    if not (arguments.data or arguments.held_out or arguments.hr):
        raise UsageError("no pictures: give --data D [D …], --held-out D [D …], or --hr DIR (and --lr DIR)")
    if _by_pillow(arguments) and arguments.degradation != ["bicubic"]:
        raise UsageError("--lr pil makes LR another way than --degradation: give one of them")
    if arguments.lr and not arguments.hr and not _by_pillow(arguments):
        raise UsageError("--lr has no effect without --hr: name the folder of the originals too")
    from srgan_lit.data import degradations
    from srgan_lit.evaluation import columns, published_scores, results, scoring
    from srgan_lit.model_files import box
    from srgan_lit.upscaling import model_choice

    freed_memory.keep()
    earlier = next((path for name in scoring.FILES if (path := arguments.out / name).exists()), None)
    if earlier and not arguments.overwrite:
        raise UsageError(f"{earlier} exists: name another folder with --out, or add --overwrite")
    _into(arguments.into, "")
    columns.standard(arguments.protocol or "y_full", 4)  # refuses an unknown protocol before anything is loaded
    for kind in arguments.degradation:
        degradations.check(kind, "--degradation ")
    names = _names(_once(arguments.model, "--model", {"bicubic", model_choice.AUTO, *box.all_names()}))
    models, failures = _models(names, arguments)
    scale = scoring.common_scale(models)
    protocol = arguments.protocol or f"y_shave{scale}"
    test_sets, unreadable = _sets(arguments, scale)
    failures += unreadable
    extra = [*columns.of_papers([each.benchmark for each in test_sets], protocol), *_extra(arguments)]
    learnt, unknown = _learnt(names)
    for line in unknown:
        command_line.complain(line)
    runs = {name: Path(given) for given, name in names.items() if (Path(given) / "metrics.csv").is_file()}
    rows = scoring.evaluate(
        models,
        test_sets,
        protocol,
        arguments.out,
        extra=extra,
        save_images=arguments.save_images,
        show=arguments.show,
        runs=runs,
        learnt=learnt,
    )
    headings = [*columns.standard(protocol, scale), *extra]
    _into(arguments.into, results.table(rows, headings))
    print(results.table(rows, headings))  # noqa: T201
    if published := published_scores.table([each.benchmark for each in test_sets if not each.caption], scale):
        print(published)  # noqa: T201
    print(f"report: {arguments.out / 'report.html'}")  # noqa: T201
    failures += dict.fromkeys(f"{row.dataset}/{name}: {why}" for row in rows for name, why in row.failed.items())
    for failure in failures:
        command_line.complain(failure)
    return 1 if failures else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``srgan-evaluate``."""
    return command_line.run(build_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
