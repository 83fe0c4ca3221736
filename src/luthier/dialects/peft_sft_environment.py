"""Environment words of a training script."""

from __future__ import annotations

from typing import Any

from luthier.dialects import names
from luthier.dialects.plain_values import whole
from luthier.dialects.table import Effect, Inert, Key, Row, Spread, Values, applied, inert

NOTE = "runtime.environment."


def _disabled(value: Any, values: Values) -> Effect:
    if str(value).lower() in ("true", "1", "yes", "disabled"):
        return applied({"track.to": []})
    if str(value).lower() in ("online", "offline"):
        return applied({"track.options.mode": str(value).lower()})
    return inert("it disables nothing")


def _devices(value: Any, values: Values) -> Effect:
    if str(value) in ("", "-1"):
        return applied({"runtime.device": "cpu"}, "no GPU is visible")
    return applied({NOTE + "CUDA_VISIBLE_DEVICES": str(value)})


ENVIRONMENT: tuple[Row, ...] = (
    Key("environment.WANDB_PROJECT", "track.project", str),
    Key("environment.WANDB_ENTITY", "track.entity", str),
    Key("environment.WANDB_NAME", "track.name", str),
    Key("environment.WANDB_RUN_ID", "track.run_id", str),
    Key("environment.WANDB_DIR", "track.dir", str),
    Key("environment.WANDB_WATCH", "track.watch", names.watched),
    Key("environment.WANDB_LOG_MODEL", "track.log_model", names.uploaded_weights),
    Spread("environment.WANDB_DISABLED", ("track.to",), _disabled),
    Spread("environment.WANDB_MODE", ("track.to", "track.options.mode"), _disabled),
    Spread("environment.CUDA_VISIBLE_DEVICES", ("runtime.device", NOTE + "CUDA_VISIBLE_DEVICES"), _devices),
    Key("environment.OMP_NUM_THREADS", "runtime.threads", whole),
    *(
        Inert(f"environment.{name}", "a secret is never taken from a recipe; give it to the run's own environment")
        for name in ("WANDB_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN")
    ),
    *(
        Inert(f"environment.{name}", "it is about the machine and not the run; set it for the run's own process")
        for name in (
            *("PYTHONPATH", "PYTHONUNBUFFERED", "PATH", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_LAUNCH_BLOCKING"),
            *("NCCL_DEBUG", "NCCL_P2P_DISABLE", "NCCL_IB_DISABLE", "NCCL_SOCKET_IFNAME", "PYTORCH_CUDA_ALLOC_CONF"),
            *("HF_HOME", "HF_ENDPOINT", "HF_DATASETS_CACHE", "TRANSFORMERS_CACHE", "HF_HUB_ENABLE_HF_TRANSFER"),
            *("TRANSFORMERS_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TOKENIZERS_PARALLELISM"),
            *("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "RANK", "LOCAL_RANK", "WORLD_SIZE"),
            *("ACCELERATE_LOG_LEVEL", "TRANSFORMERS_VERBOSITY", "BNB_CUDA_VERSION", "GLOO_SOCKET_IFNAME"),
        )
    ),
)
