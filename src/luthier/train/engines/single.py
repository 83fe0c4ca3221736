"""One process, one device."""

from __future__ import annotations

import math
import resource
from contextlib import AbstractContextManager, nullcontext

import torch

from luthier.environment import threads
from luthier.errors import RunError
from luthier.model.precision import DTYPES, has_bf16
from luthier.recipe import Recipe
from luthier.train.engines.host import keep_pages
from luthier.train.engines.unshared import Unshared


class SingleDevice(Unshared):
    """The engine of one GPU, or of the CPU."""

    def __init__(self, recipe: Recipe) -> None:
        wanted = recipe.runtime.device
        if wanted == "cuda" and not torch.cuda.is_available():
            raise RunError(
                "there is no CUDA device here", place="runtime.device", remedy="set runtime.device to auto or cpu"
            )
        self.device = torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")
        self.compute = compute_type(recipe.precision.compute, self.device)
        torch.set_num_threads(recipe.runtime.threads or threads())
        if recipe.precision.tf32 is not None:
            torch.set_float32_matmul_precision("high" if recipe.precision.tf32 else "highest")
        if recipe.runtime.deterministic:
            torch.use_deterministic_algorithms(True)
        if self.device.type == "cpu":
            keep_pages()
        self._narrow = recipe.adapter.kind != "none" and not recipe.adapter.dora

    def wrap(self, model: torch.nn.Module) -> torch.nn.Module:
        """The model on the device; weights below an adapter are cast to the compute type once, not by every use."""
        model = model.to(self.device)
        if self._narrow and self.compute is not torch.float32:
            narrow_frozen(model, self.compute)
        return model

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast in the compute type; nothing in fp32."""
        if self.compute is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute)

    def backward(self, loss: torch.Tensor) -> None:
        """Add a loss's gradients."""
        torch.autograd.backward(loss)

    def clip(self, model: torch.nn.Module, largest: float | None) -> float:
        """The global gradient norm, before it is held to ``largest``."""
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        total = torch.nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
        norm = float(total)
        if largest is not None and norm > largest and math.isfinite(norm):
            torch.nn.utils.clip_grads_with_norm_(parameters, largest, total)
        return norm

    def memory(self) -> int:
        """Peak bytes: of the device's allocator, or of the process on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def narrow_frozen(model: torch.nn.Module, compute: torch.dtype) -> None:
    """Hold the weights of frozen linear layers in the type that autocast gives them in every use.

    The output layer stays as it is: it may be saved beside an adapter.
    """
    ends = {id(getattr(part, "get_output_embeddings", lambda: None)()) for part in model.modules()}
    for module in model.modules():
        if type(module) is torch.nn.Linear and id(module) not in ends:
            for parameter in module.parameters(recurse=False):
                if not parameter.requires_grad and parameter.dtype is torch.float32:
                    parameter.data = parameter.data.to(compute)


def compute_type(wanted: str, device: torch.device) -> torch.dtype:
    """The type matrix products run in: what is asked for, where the device can do it at speed.

    auto is bf16 where the processor has instructions for it, else fp32. On a CPU fp16 is a hundred times slower than
    fp32, and so is bf16 forty times without such instructions: there both become what auto is.
    """
    if wanted == "auto" or (wanted != "fp32" and device.type == "cpu"):
        return torch.bfloat16 if has_bf16(device.type) else torch.float32
    return DTYPES[wanted]
