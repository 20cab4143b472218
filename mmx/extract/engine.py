"""The engine that the options select, and the device of the coordinator's own encoder."""

from __future__ import annotations

from mmx.bounds import check, whole
from mmx.errors import OptionError, one_of
from mmx.extract.workers.job import Engine, Recipe

ENGINES = ("local", "ray")
MOST_PROCESSES = 1024


def engine_for(
    recipe: Recipe,
    device: str,
    *,
    processes: int | None = None,
    engine: str = "local",
    address: str | None = None,
) -> tuple[Engine | None, str]:
    """The engine (None: this process does it all) and a device for the coordinator.

    ``address`` is that of a Ray cluster; None starts one on this machine. Raises OptionError
    for options that contradict each other, and when ray is needed and not installed.
    """
    one_of("--engine", engine, ENGINES)
    if processes is not None:
        check("--processes ", processes, whole(1, MOST_PROCESSES))
    if engine == "ray":
        from mmx.extract.workers.ray_engine import RayActors, coordinator_device

        return RayActors(recipe, device, processes, address), coordinator_device(device)
    if address is not None:
        raise OptionError("--ray-address goes with --engine ray")
    from mmx.extract.workers.processes import Workers, spread

    devices = spread(device, processes)
    return (Workers(recipe, devices) if len(devices) > 1 else None), devices[0]
