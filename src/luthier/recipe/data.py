"""Which rows are trained on, how they read, and what becomes of the odd ones."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Part, Section, setting


class Source(Section):
    """One file, directory or hub dataset of rows."""

    path: str = setting(
        en="File (.jsonl .json .csv .tsv .parquet .txt), directory of such files, or a dataset on the hub.",
        zh="文件(.jsonl .json .csv .tsv .parquet .txt)、此类文件的目录,或 hub 上的数据集。",
        up=("Always.", "必填。"),
        down=("Never.", "不可省略。"),
    )
    format: str = setting(
        "auto",
        en="How a row becomes an example: auto, alpaca, messages, human_assistant, text, or module:attribute.",
        zh="一行如何变成样本:auto、alpaca、messages、human_assistant、text,或 module:attribute。",
        up=("Name it when the columns fit several formats.", "列名适合多种格式时指定。"),
        down=("auto looks at the first row's columns.", "auto 依据首行列名判断。"),
    )
    name: str | None = setting(
        None,
        en="Subset of a hub dataset.",
        zh="hub 数据集的子集名。",
        up=("The dataset has several.", "数据集含多个子集时设置。"),
        down=("Local files have none.", "本地文件无需设置。"),
    )
    split: str = setting(
        "train",
        en="Split of a hub dataset.",
        zh="hub 数据集的划分。",
        up=("The rows are under another name.", "数据在其他划分名下时设置。"),
        down=("Local files have none.", "本地文件无需设置。"),
    )
    columns: dict[str, str] = setting(
        dict,
        en="Our column name -> the row's, where they differ.",
        zh="列名映射:我们的列名 -> 数据中的列名。",
        up=("The file names its columns otherwise.", "数据列名不同时设置。"),
        down=("Leave it empty when the names agree.", "列名一致时留空。"),
    )
    rows: int | None = setting(
        None,
        gt=0,
        unit="rows",
        en="Take only the first n rows.",
        zh="只取前 n 行。",
        up=("More data should count.", "需要更多数据时调大。"),
        down=("A quick trial.", "快速试跑时调小。"),
    )
    weight: float = setting(
        1.0,
        gt=0,
        en="How often the rows are repeated, relative to the other sources.",
        zh="相对其他来源的重复倍数。",
        up=("A small source must not drown.", "小数据集易被淹没时调大。"),
        down=("A large source drowns the rest.", "大数据集占比过高时调小。"),
    )


class Data(Section):
    """The rows and how they read."""

    train: tuple[Source, ...] = setting(
        (),
        en="Rows to train on.",
        zh="训练数据。",
        up=("Always: a run without rows is refused.", "必填,没有数据的任务会被拒绝。"),
        down=("Never.", "不可省略。"),
    )
    evaluate: tuple[Source, ...] = setting(
        (),
        en="Rows to measure the loss on during training.",
        zh="训练中用于评估损失的数据。",
        up=("Whenever there are any.", "有验证集时都应设置。"),
        down=("Use holdout when there are none.", "没有时可用 holdout 划分。"),
    )
    test: tuple[Source, ...] = setting(
        (),
        en="Rows to answer by generation, before and after training.",
        zh="训练前后用生成方式作答的测试数据。",
        up=("To see what the model says, not only its loss.", "想看实际回答而不仅是损失时设置。"),
        down=("Generation takes time.", "生成耗时,可省略。"),
    )
    holdout: Part = setting(
        0,
        ge=0,
        unit="rows or share",
        en="Take this share (below 1) or number of training rows away for evaluation.",
        zh="从训练数据划出用于验证的比例(小于 1)或行数。",
        up=("The evaluation loss is noisy.", "验证损失波动大时调大。"),
        down=("Data are scarce.", "数据稀缺时调小。"),
    )
    template: str = setting(
        "auto",
        en="Chat template: auto (the tokenizer's own), chatml, alpaca, plain, or a .jinja file.",
        zh="对话模板:auto(分词器自带)、chatml、alpaca、plain,或 .jinja 文件。",
        up=("The tokenizer has none, or another is wanted.", "分词器没有模板或想换模板时设置。"),
        down=("auto for chat models, which know their own.", "对话模型用 auto 即可。"),
    )
    system: str | None = setting(
        None,
        en="System message for rows that have none.",
        zh="为没有系统消息的样本补上的系统消息。",
        up=("The model is always used with one.", "推理时总带系统消息则设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    train_on: tuple[Literal["assistant", "user", "system", "tool"], ...] = setting(
        ("assistant",),
        en="Roles whose turns are learned.",
        zh="参与学习的角色。",
        up=("Add user to learn both sides.", "想同时学习用户发言时加入 user。"),
        down=("assistant alone for answers.", "只学回答时仅留 assistant。"),
    )
    last_turn_only: bool = setting(
        False,
        en="Learn only the last trained turn of a conversation.",
        zh="每段对话只学最后一个参训回合。",
        up=("Earlier answers are of lower quality.", "前面回答质量较低时开启。"),
        down=("Every answer is worth learning.", "每个回答都值得学习时关闭。"),
    )
    max_length: int = setting(
        1024,
        gt=1,
        unit="tokens",
        en="Longest document, in tokens.",
        zh="单个文档的最大词元数。",
        up=("Rows are cut or dropped.", "有样本被截断或丢弃时调大。"),
        down=("Activations do not fit.", "激活显存不足时调小。"),
    )
    overlong: Literal["drop", "truncate", "truncate_left", "split", "refuse"] = setting(
        "drop",
        en="What becomes of a row longer than max_length.",
        zh="超过 max_length 的样本如何处理。",
        up=("split for plain text, truncate to keep prompts whole.", "纯文本用 split,想保留提示用 truncate。"),
        down=("refuse to be told instead.", "想得到报错提示用 refuse。"),
    )
    bad_rows: int = setting(
        0,
        ge=0,
        unit="rows",
        en="How many unreadable rows may be set aside before the run is refused.",
        zh="允许搁置的坏行数,超过则拒绝运行。",
        up=("Scraped data with known dirt.", "爬取数据已知有脏行时调大。"),
        down=("0 for curated data.", "精选数据用 0。"),
    )
    shuffle: bool = setting(
        True,
        en="Shuffle the documents anew each epoch.",
        zh="每轮重新打乱文档顺序。",
        up=("Nearly always.", "几乎总应开启。"),
        down=("The order is a curriculum.", "顺序即课程学习时关闭。"),
    )
    deduplicate: bool = setting(
        False,
        en="Drop exact duplicates of earlier rows.",
        zh="去除与前面完全相同的样本。",
        up=("Merged or scraped sources.", "合并或爬取的数据开启。"),
        down=("Repeats are meant.", "有意重复时关闭。"),
    )
    group_by_length: bool = setting(
        False,
        en="Put documents of similar length into one micro-batch.",
        zh="把长度相近的文档放进同一微批。",
        up=("To repeat a run that did.", "复现使用过它的实验时开启。"),
        down=("Nothing is padded here, so it saves nothing.", "这里没有填充,开启并不省时间。"),
    )
    cache: str | None = setting(
        None,
        en="Directory for prepared data; unset means the user's cache directory.",
        zh="处理后数据的缓存目录;不设则用用户缓存目录。",
        up=("Several machines share a disk.", "多机共享磁盘时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    workers: int = setting(
        0,
        ge=0,
        unit="processes",
        en="Processes that prepare rows; 0 lets the tokenizer use all cores in one.",
        zh="数据处理进程数;0 表示单进程内由分词器使用全部核心。",
        up=("Custom Python formats are the bottleneck.", "自定义 Python 格式成为瓶颈时调大。"),
        down=("0 is fastest for built-in formats.", "内置格式用 0 最快。"),
    )


class Pack(Section):
    """How documents share a row of tokens; they never see one another."""

    kind: Literal["none", "best_fit", "first_fit", "concatenate"] = setting(
        "best_fit",
        en="How documents fill a pack; none gives each its own. Best-fit decreasing: Ding et al. 2024.",
        zh="文档如何填充打包;none 表示各自独立。best_fit 为最佳适应递减(Ding 等,2024)。",
        up=("Documents are much shorter than the row.", "文档远短于行长时打包。"),
        down=("none to count a batch in documents.", "想按文档数计批时用 none。"),
    )
    length: int | None = setting(
        None,
        gt=0,
        unit="tokens",
        en="Tokens in a pack; unset means data.max_length.",
        zh="每个打包的词元数;不设则取 data.max_length。",
        up=("Memory is left over.", "显存有余时调大。"),
        down=("Memory is short.", "显存不足时调小。"),
    )
