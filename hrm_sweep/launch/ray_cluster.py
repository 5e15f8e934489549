"""A Ray cluster as a launcher sees it: joined or started, and how many jobs it has room for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from hrm_sweep.compat.ray import print_nothing
from hrm_sweep.errors import ConfigError, HrmSweepError
from hrm_sweep.launch.ray_config import RayConfig
from hrm_sweep.system.process import usable_cores

SECONDS_TO_CONNECT = 5.0
SECONDS_BETWEEN_LOOKS = 1.0


class Cluster:
    """Connection of this process to a cluster.

    Args:
        config: checked by its `check_settings`.

    Attributes:
        num_jobs: how many jobs have room on the nodes that are there now.

    Raises:
        ConfigError: there is no such cluster, or none of its nodes has what a job demands.
    """

    def __init__(self, config: RayConfig) -> None:
        self._demand = config.demand
        self._is_ours = not ray.is_initialized()
        self._has_ended = threading.Event()
        try:
            if self._is_ours:
                _connect(config)
            self.num_jobs = room(ray.nodes(), self._demand)
            if not self.num_jobs and config.workers is None:
                raise _not_met(config, ray.nodes())
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._look, daemon=True).start()

    def close(self) -> None:
        """Leave the cluster; one that was started here ends. Idempotent."""
        self._has_ended.set()
        if self._is_ours:
            ray.shutdown()

    def _look(self) -> None:
        """Follow the nodes that come and go, in a thread: the answer may take a while."""
        while not self._has_ended.wait(SECONDS_BETWEEN_LOOKS):
            with suppress(Exception):  # the head is away: what was known still counts
                self.num_jobs = room(ray.nodes(), self._demand)


def room(nodes: Sequence[Mapping[str, Any]], demand: Mapping[str, float]) -> int:
    """Return how many jobs the living nodes can run at once, if they run nothing else.

    Args:
        nodes: as `ray.nodes()` returns them.
        demand: of each job, by the names of resources.
    """
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return sum(
        min(int(has.get(name, 0.0) / amount + 1e-6) for name, amount in demand.items())
        for has in alive
    )


def _not_met(config: RayConfig, nodes: Sequence[Mapping[str, Any]]) -> ConfigError:
    """Return the error that names the first demand that no node can meet, or all of them."""
    keys = {"CPU": ("num_cpus", config.num_cpus), "GPU": ("num_gpus", config.num_gpus)}
    keys |= {name: (f"resources.{name}", amount) for name, amount in config.resources.items()}
    alone = [name for name in config.demand if not room(nodes, {name: config.demand[name]})]
    key, amount = keys[(alone or [*config.demand])[0]]
    what = "has that much" if alone else "has that much beside the other resources"
    where = f"the cluster at {config.address}" if config.address else "this machine's own cluster"
    return ConfigError(
        f"hydra.launcher.{key}",
        f"{amount:g}",
        f"no node of {where} {what}",
        "hydra.launcher.workers=N waits for one that has",
    )


def _connect(config: RayConfig) -> None:
    address = config.address
    if address is not None and address != "auto":
        _check_that_it_answers(address)
    settings: dict[str, Any] = {}
    if address is None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # the cluster is ours alone
        settings = {"num_cpus": usable_cores(), "include_dashboard": False}
    try:
        with _kept_signals():
            ray.init(
                address=address or "local",
                runtime_env=config.runtime_env or None,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                **settings,
            )
    except (ConnectionError, ray.exceptions.RayError) as error:
        if "AuthenticationError" in f"{error} {error.__cause__}":
            rule = "the Ray cluster there wants a token that this process does not send"
            way_out = "set RAY_AUTH_MODE=token where its token is ~/.ray/auth_token"
            raise ConfigError("hydra.launcher.address", address, rule, way_out) from error
        raise _no_cluster(address, one_line(error)) from error
    except (ValueError, TypeError, OSError) as error:
        if config.runtime_env:
            rule = f"Ray refuses it: {one_line(error)}"
            raise ConfigError("hydra.launcher.runtime_env", config.runtime_env, rule) from error
        raise HrmSweepError(f"Ray does not start: {one_line(error)}") from error
    print_nothing()


def _check_that_it_answers(address: str) -> None:
    """Check that a server listens, for which Ray itself would wait more than a minute."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise _no_cluster(address, error.strerror or str(error)) from None


def _no_cluster(address: str | None, reason: str) -> ConfigError:
    return ConfigError(
        "hydra.launcher.address",
        address,
        f"no Ray cluster answers there ({reason})",
        "ray start --head begins one, and null one for this study alone",
    )


def one_line(error: BaseException) -> str:
    """Return the line of an error that says most: the last one of a traceback from a node."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    from_node = isinstance(error, ray.exceptions.RayTaskError)
    return lines[-1 if from_node else 0] if lines else type(error).__name__


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Leave the handlers of signals as they are: Ray puts its own in their place."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        with suppress(ValueError):  # not in the main thread, where Ray has changed none
            signal.signal(signal.SIGTERM, before)
