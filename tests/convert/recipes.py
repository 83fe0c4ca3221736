"""Files such as people have them, one or more of each dialect."""

from __future__ import annotations

import json

AXOLOTL_QLORA = """
base_model: acme/lantern-7b
load_in_4bit: true
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
datasets:
  - path: acme/recipes
    type: alpaca
val_set_size: 0.05
sequence_len: 2048
sample_packing: true
micro_batch_size: 2
gradient_accumulation_steps: 4
num_epochs: 3
optimizer: paged_adamw_32bit
lr_scheduler: cosine
cosine_min_lr_ratio: 0.1
learning_rate: 2e-4
warmup_ratio: 0.1
bf16: auto
tf32: false
gradient_checkpointing: true
attn_implementation: flash_attention_2
evals_per_epoch: 4
saves_per_epoch: 1
wandb_project: kitchen
wandb_entity: acme
output_dir: ./out/qlora
special_tokens:
  pad_token: <|pad|>
plugins:
  - axolotl.integrations.liger.LigerPlugin
liger_rope: true
"""

AXOLOTL_FULL = """
base_model: acme/lantern-1b
pretraining_dataset:
  - path: acme/letters
    name: en
    split: train
sequence_len: 4096
micro_batch_size: 4
max_steps: 1000
optimizer: adamw_torch_fused
lr_scheduler: constant_with_warmup
warmup_steps: 20
learning_rate: 0.00001
weight_decay: 0.1
bf16: true
unfrozen_parameters:
  - ^lm_head
fsdp_config:
  offload_params: true
  state_dict_type: FULL_STATE_DICT
  transformer_layer_cls_to_wrap: LanternLayer
  reshard_after_forward: true
dp_shard_size: 4
output_dir: ./out/full
"""

AXOLOTL_DPO = """
base_model: acme/lantern-7b
rl: dpo
rl_beta: 0.2
datasets:
  - path: acme/choices
    split: train[:500]
    field_chosen: better
adapter: lora
lora_r: 8
lora_target_modules: [q_proj, v_proj]
chat_template: jinja
chat_template_jinja: chat.jinja
micro_batch_size: 1
num_epochs: 1
learning_rate: 5e-6
output_dir: ./out/dpo
"""

FIREFLY_QLORA = json.dumps(
    {
        "output_dir": "out/firefly",
        "model_name_or_path": "acme/lantern-7b",
        "train_file": "talks.jsonl",
        "template_name": "qwen",
        "num_train_epochs": 2,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 8,
        "learning_rate": 1e-4,
        "max_seq_length": 1024,
        "logging_steps": 50,
        "save_steps": 100,
        "save_total_limit": 2,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 30,
        "lora_rank": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.1,
        "gradient_checkpointing": True,
        "optim": "paged_adamw_32bit",
        "train_mode": "qlora",
        "max_grad_norm": 0.5,
        "fp16": True,
        "report_to": "tensorboard",
    }
)

FIREFLY_OLD = json.dumps(
    {
        "output_dir": "out/old",
        "model_name_or_path": "acme/lantern-1b",
        "train_file_path": "tables",
        "train_file_name": "talks.csv",
        "max_seq_length": 512,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-5,
        "bf16": True,
    }
)

CHATGLM3_PREFIX = """
data_config:
  train_file: train.json
  val_file: dev.json
  test_file: test.json
  num_proc: 8
max_input_length: 256
max_output_length: 500
training_args:
  output_dir: ./out/glm
  max_steps: 2000
  learning_rate: 5e-4
  per_device_train_batch_size: 4
  save_steps: 500
  logging_steps: 10
  eval_strategy: steps
  eval_steps: 500
  per_device_eval_batch_size: 16
  predict_with_generate: true
  generation_config:
    max_new_tokens: 256
    do_sample: true
    temperature: 0.7
  deepspeed:
    zero_optimization:
      stage: 2
peft_config:
  peft_type: PREFIX_TUNING
  task_type: CAUSAL_LM
  num_virtual_tokens: 64
"""

CHATGLM3_LORA = """
data_config: {train_file: train.json}
training_args: {output_dir: ./out/glm, use_cpu: true, learning_rate: 1e-3}
peft_config: {peft_type: LORA, r: 4, lora_alpha: 16, target_modules: [query_key_value, dense]}
combine: true
"""

PEFT_FSDP = """
export WANDB_PROJECT=chats
accelerate launch --use_fsdp --num_processes 4 --fsdp_sharding_strategy FULL_SHARD \\
  --fsdp_offload_params false --fsdp_state_dict_type SHARDED_STATE_DICT train.py \\
  --seed 7 --model_name_or_path acme/lantern-70b --dataset_name acme/talks \\
  --chat_template_format chatml --splits train,test --max_length 2048 --packing True \\
  --num_train_epochs 1 --logging_steps 5 --eval_strategy epoch --save_strategy epoch \\
  --bf16 True --learning_rate 1e-4 --lr_scheduler_type cosine --weight_decay 1e-4 --warmup_ratio 0.05 \\
  --max_grad_norm 1.0 --output_dir out/fsdp --per_device_train_batch_size 2 --per_device_eval_batch_size 2 \\
  --gradient_accumulation_steps 2 --gradient_checkpointing True --use_reentrant False --use_flash_attn True \\
  --use_peft_lora True --lora_r 16 --lora_alpha 32 --lora_target_modules all-linear \\
  --use_4bit_quantization True --use_nested_quant True --bnb_4bit_compute_dtype bfloat16 \\
  --bnb_4bit_quant_storage_dtype bfloat16 --report_to wandb
"""

PEFT_TEXT = """
python train.py --model_name_or_path acme/lantern-1b --dataset_name acme/letters --splits train \\
  --dataset_text_field body --max_seq_length 512 --packing True --fp16 True --save_steps 50 --output_dir 'out/my text'
"""

ARGUMENTS = """Seq2SeqTrainingArguments(
_n_gpu=2,
bf16=True,
eval_steps=200,
evaluation_strategy=steps,
fp16=False,
gradient_accumulation_steps=2,
greater_is_better=False,
hub_token=<HUB_TOKEN>,
learning_rate=3e-05,
load_best_model_at_end=True,
logging_steps=10,
lr_scheduler_kwargs={'lr_end': 1e-06},
lr_scheduler_type=polynomial,
max_grad_norm=1.0,
metric_for_best_model=loss,
num_train_epochs=2,
optim=OptimizerNames.ADAMW_TORCH,
output_dir=out/args,
per_device_eval_batch_size=4,
per_device_train_batch_size=4,
report_to=['tensorboard', 'wandb'],
save_strategy=IntervalStrategy.STEPS,
save_steps=200,
save_total_limit=3,
seed=11,
warmup_ratio=0.1,
)
"""

OWN = """
model: {path: acme/lantern-1b, last_layers: 2}
adapter: {kind: lora, rank: 24, targets: '.*\\.(q|v)_proj', rslora: true}
data:
  train: [{path: a.jsonl, weight: 2.0}, {path: b.csv, format: human_assistant}]
  evaluate: [{path: c.jsonl}]
  template: my chat.jinja
  train_on: [assistant, tool]
  overlong: split
pack: {kind: first_fit}
batch: {micro: 3, evaluate: 5}
optimizer: {lr: 1e-4, lora_plus: 16.0, clip: null, args: {momentum: 0.9}}
schedule: {kind: cosine, warmup_steps: 12, minimum: 0.1}
evaluate: {every: 0.25, patience: 3}
checkpoint: {every: never, keep_last: null, resume: runs/a/checkpoint-10}
track: {to: [comet, swanlab], project: 厨房, tags: [a]}
output: {dir: runs/own, merge: true}
"""

FILES: dict[str, tuple[str, str]] = {
    "axolotl-qlora": ("axolotl", AXOLOTL_QLORA),
    "axolotl-full": ("axolotl", AXOLOTL_FULL),
    "axolotl-dpo": ("axolotl", AXOLOTL_DPO),
    "firefly-qlora": ("firefly", FIREFLY_QLORA),
    "firefly-old": ("firefly", FIREFLY_OLD),
    "chatglm3-prefix": ("chatglm3", CHATGLM3_PREFIX),
    "chatglm3-lora": ("chatglm3", CHATGLM3_LORA),
    "peft-fsdp": ("peft_sft", PEFT_FSDP),
    "peft-text": ("peft_sft", PEFT_TEXT),
    "arguments": ("training_arguments", ARGUMENTS),
    "own": ("luthier", OWN),
}
"""Name -> (dialect, text)."""
