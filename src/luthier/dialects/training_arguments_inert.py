"""TrainingArguments that cannot matter here, and those that cannot be honoured."""

from __future__ import annotations

from typing import Any

from luthier.dialects.table import Effect, Inert, Row, Spread, Values, inert, replaced

HUB = "a token is never taken from a recipe, masked or not; put yours into the environment as HF_TOKEN"
SCRIPT = "only scripts read it; the Trainer trains, evaluates or predicts when it is called to"
LOOP = "batches are put together in the loop itself"
METRICS = "it hands the Trainer's metric function its inputs; metrics here see the rows themselves"
KEPT = (
    "it is about how predictions were kept and gathered; the loss is summed as it goes, and answers are kept as texts"
)
RECORDED = "every step's record has it"
REPLICA = "only the first process speaks"
TPU = "it is about TPUs"
SPEED = "it changes speed, not the result; PyTorch's own kernels are used"


def sharded(value: Any, values: Values) -> Effect:
    """``sharded_ddp``: FairScale's way to save memory, which PyTorch's FSDP took over."""
    listed = value if isinstance(value, list) else str(value or "").split()
    asked = [str(one).rsplit(".", 1)[-1].lower() for one in listed if one and str(one).lower() != "false"]
    if not asked:
        return inert("not asked for")
    if values.get("deepspeed"):
        return inert("DeepSpeed shards in its place")
    made: dict[str, Any] = {"parallel.engine": "fsdp", "parallel.stage": 3 if "zero_dp_3" in asked else 2}
    if "offload" in asked:
        made["parallel.offload_parameters"] = True
    return replaced(made, "FairScale's sharding is gone from transformers; FSDP shards the same")


INERT: tuple[Row, ...] = (
    Inert("do_train", SCRIPT + "; false does not mean that nothing is trained"),
    Inert("do_eval", SCRIPT + "; the evaluation strategy says when"),
    Inert("do_predict", SCRIPT),
    Inert("local_rank", "the launcher of processes tells each its number"),
    Inert("hub_token", HUB),
    Inert("push_to_hub_token", HUB),
    Inert("remove_unused_columns", "only the columns that a format reads reach the model"),
    Inert("label_names", "the model's loss is taken from its labels, which have one name"),
    Inert("length_column_name", "lengths are counted, not read from a column"),
    Inert("dataloader_persistent_workers", LOOP),
    Inert("dataloader_prefetch_factor", LOOP),
    Inert("dataloader_multiprocessing_context", LOOP),
    Inert("dataloader_in_order", LOOP),
    Inert("dispatch_batches", "every rank computes the same planned batches, so none has to hand them out"),
    Inert("ignore_data_skip", "a resumed run goes on at the planned batch; no batch is read only to be skipped"),
    Inert("restore_callback_states_from_checkpoint", "everything that a checkpoint holds is restored"),
    Inert("enable_jit_checkpoint", "a run that is asked to stop (SIGTERM) always saves first"),
    Inert("save_on_each_node", "each node finds the checkpoint in the run's one folder"),
    Inert("save_safetensors", "weights are always saved as safetensors"),
    Inert("prediction_loss_only", KEPT),
    Inert("include_inputs_for_metrics", METRICS),
    Inert("include_for_metrics", METRICS),
    Inert("batch_eval_metrics", KEPT),
    Inert("eval_do_concat_batches", KEPT),
    Inert("eval_use_gather_object", KEPT),
    Inert("eval_accumulation_steps", "evaluation keeps sums, not predictions, so nothing has to be moved off the GPU"),
    Inert("include_num_input_tokens_seen", RECORDED),
    Inert("include_tokens_per_second", RECORDED),
    Inert("skip_memory_metrics", "memory is measured as the run goes, at no cost"),
    Inert("log_level_replica", REPLICA),
    Inert("log_on_each_node", REPLICA),
    Inert("half_precision_backend", "PyTorch's own autocast is used, also in the place of NVIDIA Apex"),
    Inert("fp16_backend", "PyTorch's own autocast is used, also in the place of NVIDIA Apex"),
    Inert("fp16_opt_level", "it spoke to NVIDIA Apex, which PyTorch's own autocast replaced"),
    Inert("use_ipex", SPEED),
    Inert("jit_mode_eval", SPEED),
    Inert("use_cache", "training keeps no cache of keys and values, and generation always does"),
    Inert("torch_empty_cache_steps", "PyTorch's pool of GPU memory is left to itself; the result is the same"),
    Inert("ray_scope", "it chose among the trials of a hyper-parameter search, and this is one run"),
    Inert("use_legacy_prediction_loop", "it chose between two loops with one result"),
    Inert("mp_parameters", "Amazon SageMaker's own way to split a model over GPUs; the engines here have theirs"),
    Inert("past_index", "the models here have no memory between batches", (-1, "-1"), "write -1"),
    Inert("tpu_metrics_debug", TPU),
    Inert("tpu_num_cores", TPU + "; the processes that are there are counted"),
    Spread("sharded_ddp", ("parallel.engine", "parallel.stage", "parallel.offload_parameters"), sharded),
)
