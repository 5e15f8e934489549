"""Names of new studies: a date and two words."""

from __future__ import annotations

import secrets
from datetime import datetime
from pathlib import Path

_QUALITIES = (
    "able amber apt bold brave brisk calm clear crisp daring deft eager fair fine fleet fond "
    "frank free fresh gentle glad golden grand happy hardy honest keen kind light lively loyal "
    "lucid mellow merry mild neat noble patient plain prime proud quick quiet rapid ready sharp "
    "silent silver sleek smart solid spry steady still sunny swift tidy true vivid warm wise "
    "witty"
).split()
_ANIMALS = (
    "badger bear beaver bison bobcat crane crow deer dingo dove eagle egret elk falcon ferret "
    "finch fox gazelle gecko goose hare hawk hedgehog heron ibex ibis jackal jay kestrel koala "
    "lark lemur linnet lion lynx magpie marten mole moose newt ocelot orca osprey otter owl "
    "panda pelican pika plover puffin quail rabbit raven robin salmon seal sparrow stork swan "
    "swift tapir tern thrush tiger toad trout turtle viper vole walrus weasel whale wolf wombat "
    "wren yak zebra"
).split()


def new_name(*places: Path) -> str:
    """Return a date and two words, such as `2026-11-22-brisk-otter`.

    Another word follows where a folder of that name is in one of the places already.

    The words come from the system's randomness: studies that start in the same second, or in
    processes seeded alike, seldom draw the same.
    """
    name = f"{datetime.now():%Y-%m-%d}-{secrets.choice(_QUALITIES)}-{secrets.choice(_ANIMALS)}"
    while any((place / name).exists() for place in places):
        name += f"-{secrets.choice(_ANIMALS)}"
    return name
