"""`--help KEY`: what a key or a group of an app is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from omegaconf import DictConfig

from hrm_sweep import formatting
from hrm_sweep.errors import InputError
from hrm_sweep.keys import comments, text
from hrm_sweep.keys.schema import KINDS
from hrm_sweep.keys.sources import Sources
from hrm_sweep.keys.tree import Key, Schemas, keys_of


@dataclass(frozen=True)
class Explainer:
    """Explains the keys of an app."""

    compose: Callable[[list[str]], DictConfig]
    """Returns the config with overrides; Hydra stays initialized."""
    schemas: Callable[[DictConfig], Schemas]
    """Returns the classes of a config's keys."""
    runs: Callable[[list[str]], bool]
    """Returns whether the app would run with overrides."""
    is_swept: Callable[[str], bool]
    """Returns whether a study may try several values of a key."""
    command: str
    """What starts the app."""

    def explain(self, word: str, overrides: Sequence[str] = ()) -> str:
        """Return what a key, the end of one, or a group is.

        Raises:
            InputError: there is none of that name.
        """
        config = self.compose([*overrides])
        keys, sources = keys_of(config, self.schemas(config)), Sources(config)
        if word in keys and not text.is_unset_group(keys[word]):
            return self._key(keys[word], overrides)
        if group := _group(word, sources):
            return _about_group(group, sources, config, keys)
        if below := [key for name, key in keys.items() if name.startswith(f"{word}.")]:
            return f"{word}: these keys\n\n{text.rows(below)}"
        if found := _ending(word, keys):
            return "\n\n".join(self._key(key, overrides) for key in found)
        option = _option_with(word, sources, config.hydra.runtime.choices)
        if option and option not in overrides:
            return f"With {option}:\n\n{self.explain(word, [*overrides, option])}"
        raise InputError(_unknown(word, keys, sources))

    def _key(self, key: Key, overrides: Sequence[str]) -> str:
        facts = [(name, fact) for name, fact in self._facts(key, overrides) if fact]
        return "\n".join(
            [key.name, *text.paragraph(key.meaning.replace("`", "")), "", text.table(facts)]
        )

    def _facts(self, key: Key, overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
        written, value = text.as_typed(key.written), text.as_typed(key.value)
        yield "value", written if written == value else f"{written}, which is {value}"
        yield "set in", key.place
        yield "note", "" if key.comment.lower() in key.meaning.lower() else key.comment
        yield "takes", ", ".join(key.choices) or _kinds(key)
        yield "read by", ", ".join(key.read_by)
        others = [other for other in _others(key) if self.runs([*overrides, f"{key.name}={other}"])]
        start = " ".join([self.command, *overrides])
        if others:
            yield "set it", f"{start} {key.name}={others[0]}"
        if others and self.is_swept(key.name):
            several = ",".join([value, *others])
            yield "sweep it", f"{self.command} -m {' '.join([*overrides, key.name])}={several}"


def _group(word: str, sources: Sources) -> str:
    """Return the group of a name, or of the end of one; empty: there is none."""
    named = word.replace(".", "/")
    if sources.options(named):
        return named
    return next((group for group in sources.groups() if group.endswith(f"/{named}")), "")


def _about_group(group: str, sources: Sources, config: DictConfig, keys: Mapping[str, Key]) -> str:
    """Return the options of a group, and the keys of the one that is chosen."""
    chosen = config.hydra.runtime.choices.get(group)
    options = [
        (f"{group}={option}", sources.heading(group, option)) for option in sources.options(group)
    ]
    prefix = group.replace("/", ".")
    lines = [f"{group}: a group; choose one of", "", text.table(options)]
    if below := [key for name, key in keys.items() if name.startswith(f"{prefix}.")]:
        lines += ["", f"Keys of {group}={chosen}", "", text.rows(below)]
    return "\n".join(lines)


def _ending(word: str, keys: Mapping[str, Key]) -> list[Key]:
    """Return the keys that end with a word; Hydra's own if there is no other."""
    found = [key for name, key in keys.items() if name.endswith(f".{word}")]
    return [key for key in found if not key.name.startswith("hydra.")] or found


def _option_with(word: str, sources: Sources, groups: Iterable[str]) -> str:
    """Return an override that chooses an option which has a key; empty: none has."""
    found = (
        (f"{group}={option}", each) for group in groups for option, each in sources.files(group)
    )
    for override, source in sorted(found, key=lambda pair: pair[1].package == ""):
        for name in comments.read(source.path).lines:
            if f".{source.package}.{name}".endswith(f".{word}"):
                return override
    return ""


def _unknown(word: str, keys: Mapping[str, Key], sources: Sources) -> str:
    ends = {name.rpartition(".")[2]: name for name in reversed([*keys])}
    names = [name for name in keys if not name.startswith("hydra.")]
    near = formatting.did_you_mean(word, dict.fromkeys(chain(names, ends, sources.groups())))
    return f"--help {word}: no key or group of that name; {near or '--help lists all'}"


def _kinds(key: Key) -> str:
    kinds = key.kinds or ((type(key.value),) if type(key.value) in KINDS else ())
    names = [KINDS[kind] for kind in kinds if kind in KINDS]
    return " or ".join([*names, *(["null"] if type(None) in kinds else [])])


def _others(key: Key) -> list[str]:
    """Return other values to try: further choices, half a number, twice a whole one."""
    value: Any = key.value
    if key.name.startswith("hydra."):
        return []
    if key.choices:
        return [each for each in key.choices if each != text.as_typed(value)]
    if value is None:
        return ["10"] if int in key.kinds else ["0.5"] if float in key.kinds else []
    if isinstance(value, int):
        return [str(2 * value or 1)]
    return [formatting.format_param(value / 2)] if isinstance(value, float) and value else []
