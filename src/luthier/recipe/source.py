"""Where rows lie, and how one of them becomes an example."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting
from luthier.recipe.prompt_format import PromptFormat

Role = Literal["assistant", "user", "system", "tool"]


class Source(Section):
    """One file, directory or hub dataset of rows."""

    path: str = setting(
        en="File (.jsonl .json .csv .tsv .parquet .arrow .txt; those of text may be packed as .gz or .zst), directory of such files, folder of a dataset that was saved to disk, or a dataset on the hub.",
        zh="文件(.jsonl .json .csv .tsv .parquet .arrow .txt;文本类可压缩为 .gz 或 .zst)、此类文件的目录、save_to_disk 保存的数据集目录,或 hub 上的数据集。",
        up=("Always.", "必填。"),
        down=("Never.", "不可省略。"),
    )
    files: tuple[str, ...] = setting(
        (),
        en="Only these files, in this order, named as they lie below path.",
        zh="只取这些文件(按此顺序),写相对于 path 的名称。",
        up=("A folder or hub dataset holds other files too.", "目录或 hub 数据集中还有其他文件时设置。"),
        down=("All files below path are the rows.", "path 下全部文件都是数据时留空。"),
    )
    format: str = setting(
        "auto",
        en="How a row becomes an example: auto, a format's name (alpaca, messages, text, pairs, …), or module:attribute.",
        zh="一行如何变成样本:auto、格式名(alpaca、messages、text、pairs 等),或 module:attribute。",
        up=("Name it when the columns fit several formats.", "列名适合多种格式时指定。"),
        down=("auto looks at the first row's columns.", "auto 依据首行列名判断。"),
        history=(
            "Axolotl's type, Firefly's task_type and LLaMA-Factory's formatting say the same; Axolotl's type also chose the text of the prompt, which is data.template or prompt here.",
            "对应 Axolotl 的 type、Firefly 的 task_type 与 LLaMA-Factory 的 formatting;Axolotl 的 type 还决定提示文本,这里由 data.template 或 prompt 决定。",
        ),
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
        en="Split of a hub dataset, and which of its rows: train, train[:500], train[10%:20%], train[-5%:], or several joined by +. Of local files the rows count as one split of any name.",
        zh="hub 数据集的划分及其中的行:train、train[:500]、train[10%:20%]、train[-5%:],多段以 + 相连。本地文件的全部行视为一个划分,名称任意。",
        up=(
            "The rows are under another name, or a part of them will do.",
            "数据在其他划分名下,或只需其中一部分时设置。",
        ),
        down=("train is all rows of most datasets.", "多数数据集的 train 即全部数据。"),
        history=(
            "The datasets library's own way to write it; percents go to the nearest row.",
            "即 datasets 库的写法;百分比取最接近的整行。",
        ),
    )
    revision: str | None = setting(
        None,
        en="Branch, tag or commit of a hub dataset.",
        zh="hub 数据集的分支、标签或提交。",
        up=("A run has to be repeatable though the dataset changes.", "数据集会更新而实验须可复现时设置。"),
        down=("Unset means the latest; local files have none.", "不设则取最新版;本地文件无需设置。"),
    )
    columns: dict[str, str] = setting(
        dict,
        en="Our column name -> the row's, where they differ.",
        zh="列名映射:我们的列名 -> 数据中的列名。",
        up=("The file names its columns otherwise.", "数据列名不同时设置。"),
        down=("Leave it empty when the names agree.", "列名一致时留空。"),
    )
    turns: dict[str, str] = setting(
        dict,
        en="Our name of a turn's property (role, content, trained, trained_parts, tool_calls, or one that the template writes, such as reasoning_content) -> the turn's.",
        zh="回合属性映射:我们的属性名(role、content、trained、trained_parts、tool_calls,或模板会写出的属性,如 reasoning_content)-> 回合中的属性名。",
        up=("Turns call their properties otherwise.", "回合的属性名不同时设置。"),
        down=("role and content, from and value are known.", "role 与 content、from 与 value 已能识别。"),
        history=(
            "Axolotl: message_property_mappings, before that message_field_role and message_field_content; message_field_training and message_field_training_detail are trained and trained_parts here.",
            "Axolotl 为 message_property_mappings,更早为 message_field_role、message_field_content;message_field_training 与 message_field_training_detail 对应这里的 trained 与 trained_parts。",
        ),
    )
    roles: dict[str, tuple[str, ...]] = setting(
        dict,
        en="Our role -> further names that the rows' turns have for it.",
        zh="角色映射:我们的角色 -> 数据中该角色的其他名称。",
        up=("A turn's role is called otherwise.", "回合的角色名不同时设置。"),
        down=("The usual names, such as human and gpt, are known.", "human、gpt 等常见名称已能识别。"),
    )
    prompt: PromptFormat | None = setting(
        None,
        en="A prompt of one's own for these rows, in the place of the chat template.",
        zh="为这些行自定义提示文本,取代对话模板。",
        up=("Rows of one question and one answer need a text of their own.", "单轮问答需要自定义文本时设置。"),
        down=("data.template gives the text.", "由 data.template 给出文本时不设。"),
        history=(
            "Axolotl's type as a mapping, and its prompters (alpaca:chat, alpaca_chat.load_qa and their like), which were classes in its code.",
            "对应 Axolotl 中写成映射的 type,以及其代码里的各种 prompter(alpaca:chat、alpaca_chat.load_qa 等)。",
        ),
    )
    drop_system: bool = setting(
        False,
        en="Leave the rows' own system messages out.",
        zh="去掉数据自带的系统消息。",
        up=("They do not fit what the model is to be.", "自带系统消息不合目标用途时开启。"),
        down=("They belong to the conversations.", "它们属于对话内容时关闭。"),
    )
    train_on: tuple[Role, ...] | None = setting(
        None,
        en="Roles whose turns are learned in these rows; unset means data.train_on.",
        zh="这些行中参与学习的角色;不设则用 data.train_on。",
        up=("Sources differ in what is worth learning.", "各来源值得学习的角色不同时设置。"),
        down=("All sources are learned alike.", "各来源一致时不设。"),
    )
    train_on_eos: Literal["turn", "all", "last", "none"] = setting(
        "turn",
        en="Which of the tokens that end a turn are learned: turn, of each learned turn; all, of every turn; last, of the last learned turn alone; none.",
        zh="哪些回合结束符参与学习:turn 为每个参训回合的;all 为所有回合的;last 仅最后一个参训回合的;none 都不学。",
        up=("To repeat a run that set it.", "复现设置过它的实验时更改。"),
        down=("turn: a model that never learns the end does not stop.", "一般用 turn:不学结束符的模型不会停止生成。"),
        history=(
            "Axolotl's key of the same name, for its chat_template datasets; train_on_eot there says it of templates whose turns end in another token than the end token.",
            "Axolotl 的同名键,用于 chat_template 数据集;若模板的回合结束符不是 eos,那里对应 train_on_eot。",
        ),
        misread=(
            "It is the token that ends a turn in the template, such as <|im_end|>, whether or not that is the tokenizer's end token.",
            "指模板中结束回合的词元(如 <|im_end|>),不论它是否就是分词器的 eos。",
        ),
    )
    turn_ends: tuple[str, ...] = setting(
        (),
        en="Which tokens count as the end of a turn, to be learned as train_on_eos says; eos_token stands for the tokenizer's own. Empty: whatever token the template writes there.",
        zh="哪些词元算作回合结束符,并按 train_on_eos 参与学习;eos_token 代表分词器自己的结束符。留空则以模板在该处写出的词元为准。",
        up=(
            "To repeat a run that learned the tokenizer's end token alone.",
            "复现只学习分词器结束符的实验时设置。",
        ),
        down=(
            "Leave it empty: a model that never learns the end of a turn does not stop.",
            "一般留空:不学回合结束符的模型不会停止生成。",
        ),
        history=(
            "Axolotl's eot_tokens; without them it looks for the end token alone, so that a template whose turns end in another has no end learned.",
            "对应 Axolotl 的 eot_tokens;不设时它只认 eos,若模板以其他词元结束回合,则该词元不参与学习。",
        ),
    )
    end_tokens: int = setting(
        1,
        ge=0,
        unit="tokens",
        en="How many end tokens stand behind each plain document, and behind each answer in a prompt of one's own.",
        zh="每个纯文本文档之后,以及自定义提示的回答之后,放置几个结束符。",
        up=("To repeat a run that wrote several.", "复现写入多个结束符的实验时调大。"),
        down=(
            "0: documents run into one another where they are joined and cut.",
            "0 表示不加:文档拼接再切断时首尾直接相连。",
        ),
        history=(
            "Firefly's pretraining added none; Axolotl's metharme wrote three.",
            "Firefly 预训练不加结束符;Axolotl 的 metharme 写三个。",
        ),
    )
    special_tokens: bool = setting(
        True,
        en="Put around each plain document, and around a prompt of one's own, what the tokenizer itself puts around a text: its beginning-of-text token, where it has one.",
        zh="是否在纯文本文档(及自定义提示)前后加上分词器自动添加的标记,如文本起始标记(若有)。",
        up=("The model was pretrained on texts that begin so.", "模型预训练时文本以此标记开头则开启。"),
        down=(
            "The text holds its own, or to repeat a run that added none.",
            "文本自带该标记,或复现未添加它的实验时关闭。",
        ),
        history=(
            "add_special_tokens of tokenizers; PEFT's examples/sft turned it off with TRL up to 0.14, and later TRL takes no notice.",
            "即分词器的 add_special_tokens;PEFT 的 examples/sft 配合 TRL 0.14 及以前时将其关闭,之后的 TRL 不再理会。",
        ),
        misread=(
            "It adds no end token: end_tokens says how many of those there are.",
            "它不负责结束符:结束符个数由 end_tokens 决定。",
        ),
    )
    control_tokens: Literal["text", "control"] = setting(
        "text",
        en="What a control token such as <|im_end|> is where it stands in a row: text keeps it the characters that it is written with; control makes it the token itself.",
        zh="数据中出现的控制标记(如 <|im_end|>)如何处理:text 视为普通字符,control 视为控制标记本身。",
        up=(
            "control for texts that a chat template has been put around already.",
            "文本已套用过对话模板时用 control。",
        ),
        down=(
            "text for what people wrote: nobody can then end a turn, or begin the system's, from inside a row.",
            "数据由他人书写时用 text,以免样本内容伪造回合结束或系统消息。",
        ),
        history=(
            "Other systems hand rows to the tokenizer as they are, which makes every such token a control token; Axolotl's completion and the text column of TRL and Firefly rely on it.",
            "其他系统直接把文本交给分词器,其中的此类标记一律成为控制标记;Axolotl 的 completion 以及 TRL、Firefly 的 text 列依赖这一点。",
        ),
        misread=(
            "It is about what rows hold; what the template, or a prompt's format, writes is always a control token.",
            "只涉及数据内容;模板或 prompt 的 format 写出的标记始终是控制标记。",
        ),
    )
    split_thinking: bool = setting(
        False,
        en="Take an answer's thought, which stands at its beginning between <think> and </think> (or <reasoning>, <|begin_of_thought|>), out of its text and give it to the template as reasoning_content.",
        zh="把回答开头处 <think> 与 </think>(或 <reasoning>、<|begin_of_thought|>)之间的思考过程从正文中拆出,作为 reasoning_content 交给模板。",
        up=("The template writes thoughts by itself, as Qwen3's does.", "模板自行写出思考过程(如 Qwen3)时开启。"),
        down=("The tags are to be learned as they stand.", "想让模型原样学习这些标签时关闭。"),
        history=(
            "Axolotl's key of the same name; the text between <|begin_of_solution|> and its end is then the answer.",
            "Axolotl 的同名键;存在 <|begin_of_solution|> 时,其中的文本即为回答。",
        ),
    )
    rows: int | None = setting(
        None,
        gt=0,
        unit="rows",
        en="Take only the first n rows, of those that split, shards and skip leave.",
        zh="只取前 n 行(在 split、shards、skip 之后计数)。",
        up=("More data should count.", "需要更多数据时调大。"),
        down=("A quick trial.", "快速试跑时调小。"),
        cost=("Time grows in proportion.", "耗时成正比增长。"),
    )
    streaming: bool = setting(
        False,
        en="Read no more rows than batch.steps can need, and of a dataset on the hub fetch only what is read.",
        zh="只读取 batch.steps 所需的行;hub 数据集也只下载读到的部分。",
        up=("A corpus is larger than the disk, or far larger than the steps.", "语料大于磁盘,或远多于步数所需时开启。"),
        down=(
            "Every row should have its turn, in an order drawn from all of them.",
            "希望所有行都参与并整体打乱时关闭。",
        ),
        cost=("Without it the whole source is downloaded and prepared.", "关闭时会下载并处理整个数据源。"),
        history=(
            "Axolotl's streaming and TRL's dataset_streaming shuffled a window of some thousand rows; here what was read is prepared as ever, and shuffled whole.",
            "Axolotl 的 streaming 与 TRL 的 dataset_streaming 只在数千行的窗口内打乱;这里读到的部分照常处理并整体打乱。",
        ),
        misread=(
            "It saves no memory: rows that are not streamed are not held in memory either.",
            "它不省内存:不流式读取时数据同样不驻留内存。",
        ),
    )
    skip: int = setting(
        0,
        ge=0,
        unit="rows",
        en="Leave the first n rows out, of those that split and shards leave.",
        zh="略去前 n 行(在 split、shards 之后计数)。",
        up=("An earlier run has seen them.", "前面的行已被之前的训练用过时设置。"),
        down=("0: from the first row on.", "0 表示从第一行开始。"),
        history=("Axolotl's key of the same name, for streamed rows.", "Axolotl 的同名键,用于流式数据。"),
    )
    shards: int | None = setting(
        None,
        gt=0,
        unit="parts",
        en="Deal the rows out into n parts, one row to each in turn, and take one part.",
        zh="把行轮流分成 n 份,只取其中一份。",
        up=("A part of a large source will do, spread evenly over it.", "只需大数据集中均匀分布的一部分时设置。"),
        down=("Unset: all rows.", "不设则取全部行。"),
        history=(
            "Axolotl's key of the same name shuffles the rows first; as many are taken, but others.",
            "Axolotl 的同名键先打乱再切分;数量相同,取到的行不同。",
        ),
        misread=(
            "It takes a part of the data; it does not spread work over processes.",
            "它只取一部分数据,并不是把工作分给多个进程。",
        ),
    )
    shard: int = setting(
        0,
        ge=0,
        en="Which of the parts that shards makes, counted from 0.",
        zh="取 shards 分出的第几份,从 0 开始。",
        up=("Another part of the same rows is wanted.", "想取同一数据的另一份时更改。"),
        down=("0: the first part.", "0 为第一份。"),
    )
    as_jsonl: bool = setting(
        False,
        en="Write a table of questions out as JSON lines first (in a folder jsonl beside the table's), and train on those.",
        zh="先把问答表格转写为 JSONL(放在表格目录旁的 jsonl 目录),再用其训练。",
        up=("Other programs want the rows in that form too.", "其他程序也需要该格式时开启。"),
        down=("Tables are read as they are.", "表格可直接读取,一般关闭。"),
    )
    weight: float = setting(
        1.0,
        gt=0,
        en="How often the rows are repeated, relative to the other sources.",
        zh="相对其他来源的重复倍数。",
        up=("A small source must not drown.", "小数据集易被淹没时调大。"),
        down=("A large source drowns the rest.", "大数据集占比过高时调小。"),
    )
