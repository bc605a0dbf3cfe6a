"""Numbers on command lines and in the page's addresses are of the digits 0 to 9."""

from pathlib import Path

import pytest

from srgan_lit import app, benchmark, evaluate, export, prepare, upscale
from srgan_lit.common.numbers import number, whole_number
from srgan_lit.evaluation.metrics import protocol

COMMANDS = {
    upscale: ["in.png", "-o", "out"],
    app: [],
    benchmark: [],
    evaluate: ["--model", "bicubic", "--data", "d", "--out", "o"],
    export: ["m", "-o", "o.onnx"],
    prepare: ["folder"],
}
FOREIGN = [chr(0x660 + 4), chr(0xFF14), chr(0x967 + 3)]  # 4 in Arabic, full width and Devanagari


OTHERS = ("--base-path", "--trust-proxy")
OPTIONS = [  # those that take a number
    pytest.param(command, action.option_strings[-1], id=f"{command.__name__}{action.option_strings[-1]}")
    for command in COMMANDS
    for action in command.build_parser()._actions
    if action.option_strings and action.option_strings[-1] not in OTHERS and action.type not in (None, Path)
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_an_option_takes_the_digits_0_to_9_alone(command, option, capsys):
    parser = command.build_parser()
    for wrong in ("1_0", "4_4", " 4", "4 ", *FOREIGN, *(f"1{digit}" for digit in FOREIGN)):
        with pytest.raises(SystemExit):
            parser.parse_args([*COMMANDS[command], option, wrong])
        assert option in capsys.readouterr().err


def test_numbers_that_people_write_are_taken():
    assert [whole_number(text) for text in ("0", "007", "-3", "1080")] == [0, 7, -3, 1080]
    assert [number(text) for text in ("2", "2.5", ".5", "5.", "1e3", "-1E-2")] == [2, 2.5, 0.5, 5, 1000, -0.01]
    for wrong in ("", "-", ".", "e5", "1__0", "nan", "inf", "0x10", "1\n", *FOREIGN):
        with pytest.raises(ValueError):
            number(wrong)
        with pytest.raises(ValueError):
            whole_number(wrong)


def test_a_protocol_is_named_in_these_digits_too():
    assert protocol("y_shave14").shave_px == 14
    with pytest.raises(ValueError, match="no protocol"):
        protocol(f"y_shave1{FOREIGN[0]}")
