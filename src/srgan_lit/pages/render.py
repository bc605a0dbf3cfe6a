"""Templates filled in, strictly: an undefined value is an error, every text is escaped."""

from importlib import resources

import jinja2

_HERE = resources.files("srgan_lit.pages")


def read(*names: str) -> str:
    """The files ``names`` of this folder, one after another."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)


def render(template: str, **values: object) -> str:
    """The page that ``template``, a file of this folder, makes of ``values``."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    return environment.from_string(read(template)).render(**values)
