"""Canaries of the private names of OmegaConf that compat/omegaconf.py uses."""

import warnings

import yaml
from omegaconf import OmegaConf

from hrm_sweep.compat import omegaconf as compat


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
