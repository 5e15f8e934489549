"""Canaries of the private names of OmegaConf that compat/omegaconf.py uses."""

import copy
import pickle
import warnings
from dataclasses import dataclass, field

import yaml
from omegaconf import MISSING, DictConfig, OmegaConf

from hrm_sweep.compat import omegaconf as compat


@dataclass
class Typed:
    """A structured config with every kind of node."""

    number: int = 1
    either: int | str = 1
    missing: str = MISSING
    names: list[str] = field(default_factory=lambda: ["a"])
    numbers: dict[str, int] = field(default_factory=lambda: {"a": 1})
    inner: "Typed | None" = None
    path: str = "${oc.env:HOME}/${number}"


def test_a_copy_is_what_deepcopy_returns_and_its_own():
    typed = OmegaConf.structured(Typed(inner=Typed()))
    cfg = OmegaConf.create({"typed": typed, "there": "${typed.inner.number}", "of": [{"a": 1}]})
    OmegaConf.set_readonly(cfg.typed, True)
    before = pickle.dumps(cfg)
    made = compat.copied(cfg)
    assert pickle.dumps(made) == pickle.dumps(copy.deepcopy(cfg))
    assert (type(made), OmegaConf.get_type(made.typed.inner)) == (DictConfig, Typed)
    assert OmegaConf.is_readonly(made.typed)
    OmegaConf.set_readonly(made.typed, False)
    made.typed.inner.number, made.typed.either, made["of"][0].a = 2, "b", 2
    made.typed.names.append("b")
    assert made.there == 2
    assert pickle.dumps(cfg) == before


def test_unresolved_values_are_as_written():
    cfg = OmegaConf.create({"a": "${b}", "b": 1, "c": ["${missing}"], "d": None})
    assert [compat.unresolved(cfg, key) for key in ("a", "b", "d", "e")] == ["${b}", 1, None, None]
    assert compat.unresolved(cfg.c, 0) == "${missing}"


def test_the_dumper_writes_what_to_yaml_writes():
    tree = {"text": ["1e-3", "on", "2021-01-01", "plain"], "number": 1e-3}
    written = yaml.dump(
        tree, Dumper=compat.yaml_dumper(), default_flow_style=False, sort_keys=False
    )
    assert written == OmegaConf.to_yaml(tree)
    assert "- '1e-3'" in written


def test_a_resolver_is_registered_again_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for value in ("one", "two"):
            compat.register_resolver("canary", lambda value=value: value)
    assert OmegaConf.create({"a": "${canary:}"}).a == "two"
