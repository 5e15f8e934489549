"""What keys mean, as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hrm_sweep import formatting
from hrm_sweep.keys.sources import Sources
from hrm_sweep.keys.tree import Key

WIDEST_KEY = 34
"""Columns of `key=value`; the words of a longer one begin in the next line."""


def width() -> int:
    """Return how many columns text has: those of the terminal, and 110 at most."""
    return min(shutil.get_terminal_size((100, 24)).columns, 110)


def sections(config: DictConfig, keys: Mapping[str, Key], *, resolve: bool = False) -> str:
    """Return all keys of an app, below the top-level key that they belong to.

    Args:
        config: with Hydra's own keys, which are left out.
        keys: of the config.
        resolve: show values instead of interpolations.
    """
    sources, found = Sources(config), _by_section(keys)
    texts = [rows(found.pop(""), resolve=resolve)] if "" in found else []
    for name, below in found.items():
        option = config.hydra.runtime.choices.get(name)
        about = sources.heading(name, option) if option else ""
        title = f"{name}={option}" if option else name
        head = [f"== {title} ==", *paragraph(about)]
        texts.append("\n".join([*head, rows(below, resolve=resolve)]))
    return "\n\n".join(texts)


def completions(config: DictConfig, keys: Mapping[str, Key]) -> dict[str, str]:
    """Return overrides as far as they can be completed (`lr=`, `model=hrm`) and what they mean."""
    sources, found = Sources(config), {}
    for key in keys.values():
        found[f"{key.name}="] = with_choices(key)
        found |= {f"{key.name}={value}": "" for value in key.choices}
    for group in sources.groups():
        options = sources.options(group)
        found[f"{group}="] = f"one of {', '.join(options)}"
        found |= {f"{group}={option}": sources.heading(group, option) for option in options}
    return found


def rows(keys: Iterable[Key], *, resolve: bool = False) -> str:
    """Return a line for each key, or some: `key=value`, and what it means."""
    named = [(f"{key.name}={shown(key, resolve=resolve)}", with_choices(key)) for key in keys]
    return table(named)


def table(named: Sequence[tuple[str, str]]) -> str:
    """Return names and what they mean in two columns; the second one is wrapped."""
    column = min(max((len(name) for name, _ in named), default=0), WIDEST_KEY) + 2
    return "\n".join(
        line.replace("`", "") for name, words in named for line in _row(name, words, column)
    )


def with_choices(key: Key) -> str:
    """Return the words of a key, with the choices that they do not name."""
    others = [each for each in key.choices if each not in key.words]
    is_flag = key.choices == ("true", "false")
    return key.words if is_flag or not others else f"{key.words} ({', '.join(key.choices)})"


def shown(key: Key, *, resolve: bool = False) -> str:
    """Return the value of a key as it would be typed."""
    return as_typed(key.value if resolve else key.written)


def as_typed(value: Any) -> str:
    """Return a value as the user would type it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, dict)) or OmegaConf.is_config(value):
        plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        return str(plain).replace("'", "").replace("None", "null").replace(" ", "")
    return str(getattr(value, "name", formatting.format_param(value)))


def _by_section(keys: Mapping[str, Key]) -> dict[str, list[Key]]:
    """Return the keys by the first part of their names, those that have one part first."""
    found: dict[str, list[Key]] = {"": []}
    for key in keys.values():
        section = key.name.partition(".")[0] if "." in key.name else ""
        if section != "hydra" and not (section == "" and is_unset_group(key)):
            found.setdefault(section, []).append(key)
    return {section: below for section, below in found.items() if below}


def is_unset_group(key: Key) -> bool:
    """Return whether a key is a group without a config."""
    return isinstance(key.written, dict)


def _row(name: str, words: str, column: int) -> Iterator[str]:
    lines = textwrap.wrap(words, max(width() - column - 2, 20))
    if len(name) + 2 > column or not lines:
        lines = ["", *lines]
    for line in lines:
        yield f"  {name:{column}}{line}".rstrip()
        name = ""


def paragraph(text: str) -> list[str]:
    """Return the lines of a paragraph below its title."""
    return textwrap.wrap(text, width() - 2, initial_indent="  ", subsequent_indent="  ")
