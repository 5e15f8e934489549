"""`hydra/help=hrm_sweep`: --help of any app shows what its keys mean."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from hrm_sweep.compat.omegaconf import register_resolver

RESOLVER = "hrm_sweep_keys"
CONFIG = {
    "app_name": "${hydra.job.name}",
    "header": "${hydra.help.app_name}: a Hydra app.",
    "footer": "Flags: -m a study · --cfg job the config, as composed · --hydra-help Hydra's own",
    "template": f"""${{hydra.help.header}}

== Groups: choose one of each with group=option ==
$APP_CONFIG_GROUPS
== Keys: set (key=value) or, with -m, sweep (a,b,c · choice · range · interval) ==
${{{RESOLVER}:}}

${{hydra.help.footer}}
""",
}


def register() -> None:
    """Register the resolver by which the template reads the keys, unless it is registered."""
    if not OmegaConf.has_resolver(RESOLVER):
        register_resolver(RESOLVER, _explained)


def _explained(_root_: DictConfig) -> str:
    """Return the keys of a config; Hydra fills in the result as a template, in which $$ is $."""
    from hrm_sweep.keys import text, tree  # only when --help is asked for

    return text.sections(_root_, tree.keys_of(_root_)).replace("$", "$$")
