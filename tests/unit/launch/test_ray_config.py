"""Settings of `hydra/launcher=ray`, and how many jobs a cluster has room for."""

import pytest

from hrm_sweep.errors import ConfigError
from hrm_sweep.launch.ray_cluster import room
from hrm_sweep.launch.ray_config import RayConfig
from hydra_plugins.hrm_sweep_plugins.ray_launcher import RayLauncher

WRONG = {
    "num_cpus": (0, "hydra.launcher.num_cpus=0: must be more than 0"),
    "num_gpus": (1.5, "hydra.launcher.num_gpus=1.5: must be a whole number, or a share of one"),
    "workers": (0, "hydra.launcher.workers=0: must be 1 or more, or null"),
    "timeout": (-1, "hydra.launcher.timeout=-1: must be more than 0 seconds, or null"),
    "threads": (0, "hydra.launcher.threads=0: must be 1 or more"),
    "resources": (
        {"TPU": "one"},
        "hydra.launcher.resources.TPU=one: must be a whole number, or a share of one",
    ),
    "address": (
        "ray://head:10001",
        "hydra.launcher.address=ray://head:10001: Ray's client protocol cannot bring home what "
        "trials write while they run; run the command on a node of the cluster, with "
        "hydra.launcher.address=auto",
    ),
    "runtime_env": ("here", "hydra.launcher.runtime_env=here: must be a mapping"),
}


@pytest.mark.parametrize("key", WRONG)
def test_a_setting_that_breaks_a_rule_is_refused(key):
    value, words = WRONG[key]
    launcher = RayLauncher(**{key: value})
    with pytest.raises(ConfigError) as caught:
        launcher.setup(hydra_context=None, task_function=None, config=None)
    assert str(caught.value) == words


@pytest.mark.parametrize("address", [":1", "head", "head:x", ""])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(ConfigError, match="must be null, auto or host:port"):
        RayConfig(address=address).check_settings()


@pytest.mark.parametrize("name", ["CPU", "GPU", "memory"])
def test_resources_of_ray_itself_have_keys_of_their_own(name):
    with pytest.raises(ConfigError, match=f"resources.{name}=1: is a name of Ray's own"):
        RayConfig(resources={name: 1}).check_settings()


def node(*, alive: bool = True, **resources: float) -> dict[str, object]:
    return {"Alive": alive, "Resources": resources}


CLUSTERS = {
    "a head without processors": ([node(), node(CPU=4)], RayConfig(), 4),
    "a job is on one node": ([node(CPU=3), node(CPU=3)], RayConfig(num_cpus=2), 2),
    "shares": ([node(CPU=1)], RayConfig(num_cpus=0.1), 10),
    "a dead node": ([node(CPU=4, alive=False), node(CPU=1)], RayConfig(), 1),
    "the scarcest counts": ([node(CPU=8, GPU=1)], RayConfig(num_gpus=0.5), 2),
    "no node has both": (
        [node(CPU=8), node(CPU=1, TPU=4)],
        RayConfig(num_cpus=2, resources={"TPU": 1}),
        0,
    ),
    "no resource of that name": ([node(CPU=8)], RayConfig(resources={"TPU": 1}), 0),
}


@pytest.mark.parametrize("name", CLUSTERS)
def test_a_cluster_has_room_for_so_many_jobs(name):
    nodes, config, expected = CLUSTERS[name]
    assert room(nodes, config.demand) == expected
