"""Write docs/keys.md, the keys of the shipped app: `python docs/tools/keys.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from omegaconf import DictConfig

from hrm_sweep.formatting import escape_markdown, markdown_code
from hrm_sweep.hrm import app, config, help_text
from hrm_sweep.keys import text
from hrm_sweep.keys.sources import Sources
from hrm_sweep.keys.tree import Key, keys_of

PAGE = Path(__file__).parents[1] / "keys.md"
INTRODUCTION = """# Keys

<!-- written by docs/tools/keys.py from the comments in conf/ and docstrings of config classes -->

The keys of the app that ships with hrm_sweep. `python -m hrm_sweep --help` shows those of the
config that the overrides behind it compose (`--help model=trm`). With a name, `--help` explains
one key, the end of one, a group or the metrics:

```console
$ python -m hrm_sweep --help lr
$ python -m hrm_sweep --help trainer.precision
$ python -m hrm_sweep --help study/pruner
$ python -m hrm_sweep --help num_layers
$ python -m hrm_sweep --help hydra.sweeper.n_trials
$ python -m hrm_sweep --help metrics
```

A key is set by `key=value`, a group by `group=option`; with `-m`, both can have several values.
Keys of the sweeper and of the launchers, for apps of your own, are in
[any_app.md](any_app.md#settings) and [clusters.md](clusters.md). `override hydra/help: hrm_sweep`
in the defaults of such an app lets its `--help` show its keys like this: the comments of its YAML
files, or the docstrings of its config classes.

"""


def page() -> str:
    """Return the page."""
    config.register_resolvers()
    with app.initialized() as compose:
        cfg = compose([])
        root = [key for name, key in _keys(cfg).items() if "." not in name]
        parts = ["## Most used", _table(key for key in root if not text.is_unset_group(key))]
        for group in Sources(cfg).groups():
            parts += _group(group, Sources(cfg), compose)
    return INTRODUCTION + "\n\n".join(parts) + "\n"


def _group(group: str, sources: Sources, compose: help_text.Composer) -> Iterator[str]:
    """Yield the options of a group, and the keys of each."""
    yield f"## {group}"
    for option in sources.options(group):
        yield f"### {group}={option}"
        yield escape_markdown(sources.heading(group, option))
        prefix = group.replace("/", ".")
        keys = _keys(compose([f"{group}={option}"])).items()
        own = [key for name, key in keys if name.startswith(f"{prefix}.")]
        if own:
            yield _table(own)


def _keys(cfg: DictConfig) -> dict[str, Key]:
    return keys_of(cfg, help_text.schemas(cfg))


def _table(keys: Iterable[Key]) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key in keys:
        words = escape_markdown(text.with_choices(key)).replace("|", "\\|")
        rows.append(f"| `{key.name}` | {markdown_code(text.shown(key))} | {words} |")
    return "\n".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
