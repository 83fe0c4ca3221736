"""The whole of a run, and how it is written down again."""

from __future__ import annotations

from typing import Any

from luthier.recipe.adapter import Adapter
from luthier.recipe.batch import Batch
from luthier.recipe.checkpoint import Checkpoint
from luthier.recipe.data import Data
from luthier.recipe.evaluate import Evaluate
from luthier.recipe.field import Section, setting
from luthier.recipe.method import Method
from luthier.recipe.model import Model
from luthier.recipe.optimizer import Optimizer
from luthier.recipe.output import Output
from luthier.recipe.pack import Pack
from luthier.recipe.parallel import Parallel
from luthier.recipe.precision import Precision
from luthier.recipe.quantise import Quantise
from luthier.recipe.runtime import Runtime
from luthier.recipe.schedule import Schedule
from luthier.recipe.tokenizer import Tokenizer
from luthier.recipe.track import Track


def _section(kind: type[Section], zh: str) -> Any:
    """A section of the recipe, described by its class's own docstring."""
    advice = ("See its settings.", "见各项设置。")
    return setting(kind, en=(kind.__doc__ or "").strip(), zh=zh, up=advice, down=advice)


class Recipe(Section):
    """What a run is."""

    model: Model = _section(Model, "权重从何而来。")
    tokenizer: Tokenizer = _section(Tokenizer, "分词器从何而来、作何改动。")
    adapter: Adapter = _section(Adapter, "训练哪种适配器、加在何处。")
    quantise: Quantise = _section(Quantise, "QLoRA:基座用 4 或 8 比特,其上训练适配器。")
    data: Data = _section(Data, "用哪些数据、如何解读。")
    pack: Pack = _section(Pack, "文档如何共享一行词元,彼此不可见。")
    method: Method = _section(Method, "训练目标。")
    batch: Batch = _section(Batch, "微批 × 累积 × 进程数 = 一个优化步;损失只除一次,除以参训词元总数。")
    optimizer: Optimizer = _section(Optimizer, "优化器及其常数;权重衰减为解耦式,不作用于偏置与归一化层。")
    schedule: Schedule = _section(Schedule, "学习率:先预热,再沿曲线变化。")
    precision: Precision = _section(Precision, "矩阵运算使用的精度;权重精度见 model.dtype。")
    runtime: Runtime = _section(Runtime, "机器相关设置,只影响速度不影响结果。")
    parallel: Parallel = _section(Parallel, "多设备引擎及分片方式。")
    evaluate: Evaluate = _section(Evaluate, "何时、用什么数据与指标评估。")
    checkpoint: Checkpoint = _section(Checkpoint, "何时保存完整状态、如何恢复。")
    track: Track = _section(Track, "向哪些跟踪工具汇报。")
    output: Output = _section(Output, "任务目录与结果形式。")
    seed: int = setting(
        42,
        ge=0,
        en="Seed of every random choice of the run.",
        zh="本次任务全部随机选择的种子。",
        up=("Another number repeats the run with other luck.", "换一个数可检验结果是否偶然。"),
        down=("Keep it to repeat a run exactly.", "保持不变即可精确复现。"),
        history=(
            "data_seed ordered the rows apart; here one seed rules all. Axolotl without a seed shuffles with none of its own, and the Trainer takes 42.",
            "data_seed 曾单独决定数据顺序;这里只有一个种子。Axolotl 不写种子时打乱不固定,Trainer 取 42。",
        ),
    )

    def tree(self, *, changed_only: bool = False) -> dict[str, Any]:
        """The recipe as plain values, to be written as YAML or JSON; ``changed_only`` leaves defaults out."""
        return self.model_dump(mode="json", exclude_defaults=changed_only)
