"""A Ray cluster: whether it is there, the connection to it, and how its machines are divided."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

from mmx.devices import AUTO
from mmx.errors import OptionError, first_line
from mmx.extract.stages.run import cores

PATIENCE = 5.0  # s until a cluster must answer


def shares(nodes: list[dict[str, float]], cuda: bool, processes: int | None) -> tuple[int, int]:
    """How many actors, and how many cores each: one for a GPU, or for a machine's cores.

    ``nodes`` are the resources of each machine as Ray counts them. Raises OptionError when none
    has what is needed.
    """
    able = [node for node in nodes if node.get("GPU" if cuda else "CPU", 0) >= 1]
    if not able:
        lacking = "a GPU; --device cpu" if cuda else "a free core"
        raise OptionError(f"no machine of the Ray cluster has {lacking}")
    if cuda:
        cpus = min(int(node.get("CPU", 1)) // int(node["GPU"]) for node in able)
        return processes or sum(int(node["GPU"]) for node in able), max(1, cpus)
    each = ceil(processes / len(able)) if processes else 1
    cpus = max(1, min(int(node["CPU"]) for node in able) // each)
    return processes or sum(int(node["CPU"]) // cpus for node in able), cpus


def takes_gpus(device: str, nodes: list[dict[str, float]]) -> bool:
    """Whether actors reserve GPUs: ``auto`` does where a machine of the cluster has one.

    What torch can use of them, each actor finds out for itself.
    """
    return device == "cuda" or (device == AUTO and any(node.get("GPU", 0) >= 1 for node in nodes))


def must_listen(address: str | None) -> None:
    """Check HOST:PORT, where Ray itself would try for more than a minute."""
    host, _, port = (address or "").rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise OptionError(f"--ray-address {address}: nothing listens there ({error})") from error


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The ray module, connected to ``address`` or a local cluster unless the caller has done so."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no report to Ray's makers
    import ray

    ours = not ray.is_initialized()
    if ours:
        own: dict[str, Any] = {} if address else {"num_cpus": cores(), "include_dashboard": False}
        try:
            ray.init(
                address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = first_line(error)
            raise OptionError(f"--ray-address {address}: no cluster answers ({reason})") from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
