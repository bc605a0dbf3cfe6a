"""``python -m srgan_lit``: the commands."""

import importlib
import sys

from srgan_lit import __version__

COMMANDS = {
    "upscale": "enlarge pictures and videos",
    "app": "the same in a browser",
    "train": "train a generator",
    "prepare": "fetch, check and pack pictures to train on",
    "evaluate": "score models on test pictures",
    "runs": "a table of trainings",
    "export": "write a generator as ONNX",
    "convert": "take over a generator of another project",
    "benchmark": "how fast this machine trains and enlarges",
}


def listing() -> int:
    """Print the commands; ``--version`` prints the version."""
    given = sys.argv[1:]
    if given == ["--version"]:
        print(f"srgan_lit {__version__}")  # noqa: T201
        return 0
    if given and given[0] in COMMANDS:  # python -m srgan_lit upscale …
        sys.argv = [f"srgan-{given[0]}", *given[1:]]
        status = importlib.import_module(f"srgan_lit.{given[0]}").main()
        return int(status or 0)
    lines = [f"  python -m srgan_lit.{name:<10} {what}" for name, what in COMMANDS.items()]
    known = not given or given in (["--help"], ["-h"])
    text = f"srgan_lit {__version__}\n\n" + "\n".join(lines) + "\n\neach with --help; also srgan-upscale, srgan-train …"
    if not known:
        text = f"{given[0]}: no such command\n" + text
    print(text, file=sys.stdout if known else sys.stderr)
    return 0 if known else 2


if __name__ == "__main__":
    sys.exit(listing())
