"""A file of every dialect, as users write them."""

AXOLOTL = """\
# my run
base_model: NousResearch/Llama-2-7b-hf
load_in_4bit: true
strict: false

datasets:
  - path: data/mine.jsonl
    type: alpaca   # instruction, input, output
    field_system: >-
      a folded
      text
adapter: qlora
lora_r: 8
lora_alpha: 16
lora_target_modules:
  - q_proj
  - v_proj
weight_decay: 0.1
flash_attn_fuse_mlp: true
sequence_len: 2048
micro_batch_size: 1
num_epochs: 1
learning_rate: 2e-4
output_dir: "out # not a comment"
"""

CHATGLM3 = """\
data_config:
  train_file: train.json
max_input_length: 256
training_args:
  # see TrainingArguments
  output_dir: ./output
  learning_rate: 5e-5
  remove_unused_columns: false
peft_config:
  peft_type: LORA
  r: 8
"""

FIREFLY = """\
{
    "output_dir": "out",
    "model_name_or_path": "Qwen/Qwen1.5-7B",
    "train_file": "data.jsonl",
    "template_name": "qwen", "train_mode": "lora",
    "num_train_epochs": 1,
    "lora_rank": 64,
    "max_seq_length": 1024,
    "per_device_train_batch_size": 1,
    "fp16": true
}
"""

DUMP = """\
TrainingArguments(
_n_gpu=0,
learning_rate=1e-05,
logging_nan_inf_filter=True,
\tsave_steps=0,
optim=OptimizerNames.PAGED_ADAMW,
weight_decay=0.001,
)
"""

SCRIPT = """\
export WANDB_DISABLED=true
python train.py \\
  --model_name_or_path "/models/llama" \\
  --dataset_name "mine" \\
  --splits "train,test" \\
  --use_peft_lora True \\
  --lora_r 8 \\
  --chat_template_format "chatml" \\
  --output_dir out
"""

NATIVE = """\
model: {path: some/model}
data:
  train: [{path: rows.jsonl}]
optimizer:
  lr: 1e-4
"""

FILES = {
    "axolotl": ("a.yml", AXOLOTL),
    "chatglm3": ("c.yaml", CHATGLM3),
    "firefly": ("f.json", FIREFLY),
    "luthier": ("l.yaml", NATIVE),
    "peft_sft": ("p.sh", SCRIPT),
    "training_arguments": ("t.txt", DUMP),
}

DEEPSPEED = """\
{
  "train_micro_batch_size_per_gpu": "auto",
  "zero_optimization": {
    "stage": 3,
    "overlap_comm": true
  },
  "steps_per_print": 2000
}
"""

ACCELERATE = """\
compute_environment: LOCAL_MACHINE
distributed_type: FSDP
fsdp_config:
  fsdp_sharding_strategy: FULL_SHARD
  fsdp_version: 1
mixed_precision: bf16
num_processes: 8
"""
