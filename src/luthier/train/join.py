"""Where the processes of a run meet, those that a launcher has started."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from luthier.environment import World, take_place, world
from luthier.errors import RunError
from luthier.recipe import Recipe
from luthier.train.launch import free_port
from luthier.train.ranks import Ranks
from luthier.train.signs import PATIENCE, Signs


def join(recipe: Recipe, place: World | None = None, *, alone: bool = True) -> Ranks:
    """Meet the other processes of this run.

    ``alone``: a single process needs no meeting; an engine that shards asks for one all the same.

    Raises:
        RunError: they do not come within ``parallel.timeout``, or the backend is not there.
    """
    place = place or world()
    if place.size == 1 and alone:
        return Ranks()
    if place.size == 1:
        place = World(address="127.0.0.1", port=free_port())
    take_place(place)
    wait = timedelta(seconds=recipe.parallel.timeout)
    on_gpu = recipe.runtime.device != "cpu" and torch.cuda.is_available()
    backend = recipe.parallel.backend or ("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    if on_gpu:
        torch.cuda.set_device(place.local)
    try:
        store = TCPStore(place.address, place.port, place.size, place.rank == 0 and not place.hosted, timeout=wait)
        dist.init_process_group(
            backend, store=PrefixStore("group", store), rank=place.rank, world_size=place.size, timeout=wait
        )
        control = dist.new_group(backend="gloo", timeout=wait)
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"rank {place.rank} of {place.size} does not find the others at {place.address}:{place.port}: "
            f"{str(error).splitlines()[0]}",
            place="parallel",
            remedy="see that all are started, that the address can be reached, and parallel.backend is one torch has",
        ) from error
    own = PrefixStore("luthier", store)
    own.set_timeout(timedelta(seconds=PATIENCE))
    signs = Signs(place.rank, place.size, own, recipe.parallel.timeout)
    return Ranks(place.rank, place.size, place.local, control, signs)
