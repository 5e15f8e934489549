"""Overrides that Hydra cannot parse: the line says what to type instead."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException

from hrm_sweep.commands.error_messages import explain

CASES = [
    ("study.name=größe", "letters beyond ASCII need quotes of Hydra's own: 'study.name=\"größe\"'"),
    ("lr=choice(1e-3,ä)", "need quotes of Hydra's own: 'lr=choice(1e-3,\"ä\")'"),
    ("data.tags=[ä,b]", "need quotes of Hydra's own: 'data.tags=[\"ä\",b]'"),
    ("study.name=ü,b", "need quotes of Hydra's own: 'study.name=\"ü\",b'"),
    ("file=/home/jü/a b.pth", "need quotes of Hydra's own: 'file=\"/home/jü/a b.pth\"'"),
    ("study.name=50%&co", "this text needs quotes of Hydra's own: 'study.name=\"50%&co\"'"),
    ("study.name=a=b", "this text needs quotes of Hydra's own: 'study.name=\"a=b\"'"),
    ("study.name=my study (1)", "this text needs quotes of Hydra's own: 'study.name=\"my study"),
    ("lr=1e\u20133", "has a sign that is no minus; write lr=1e-3"),
    ("lr=\u22121", "has a sign that is no minus; write lr=-1"),
    ("größe=1", "a key has letters of ASCII, digits and _ alone"),
    ("lr=[1,2", "cannot be parsed; close every bracket and quote"),
    ("ema=choice(null,0.9)", "choice takes no null; separate the values by commas alone: a,null"),
    ("ema=choice(0.9)x", "cannot be parsed; close every bracket and quote"),
    ("lr=interval(1 2", "cannot be parsed; close every bracket and quote"),
    ('lr=choice(1;2,"ä")', "cannot be parsed; close every bracket and quote"),
]


@pytest.mark.parametrize(("override", "message"), CASES, ids=[case[0] for case in CASES])
def test_the_line_says_what_to_type(override, message):
    with pytest.raises(OverrideParseException) as caught:
        OverridesParser.create().parse_overrides([override])
    said = explain(caught.value, command=[], overrides=[override], keys=[], commands=[])
    assert said.startswith(f"{override}: ")
    assert message in said
    assert "\n" not in said
