"""Which rows are trained on, how they read, and what becomes of the odd ones."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Part, Section, setting
from luthier.recipe.source import Source


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
        history=(
            "Axolotl's val_set_size is a share up to 1 and a number of rows above; the set is shuffled first and its tail held out.",
            "Axolotl 的 val_set_size 不超过 1 为比例,大于 1 为行数;先打乱,再取末尾部分作验证。",
        ),
    )
    template: str = setting(
        "auto",
        en="Chat template: auto (the tokenizer's own), auto/llama3 and the like (its own, or that one where it has none), one of ours (chatml, llama3, alpaca, …), firefly/qwen and the like, or a .jinja file.",
        zh="对话模板:auto(分词器自带)、auto/llama3 一类(优先用自带的,没有时用所写的)、内置模板(chatml、llama3、alpaca 等)、firefly/qwen 一类的 Firefly 模板,或 .jinja 文件。",
        up=("The tokenizer has none, or another is wanted.", "分词器没有模板或想换模板时设置。"),
        down=("auto for chat models, which know their own.", "对话模型用 auto 即可。"),
        history=(
            "Templates once lived in training code, by name: Firefly has 23 of them, PEFT's examples/sft has chatml and zephyr; today the tokenizer carries its own. ChatML comes from OpenAI (2023).",
            "模板过去写在训练代码里、按名称选用:Firefly 有 23 个,PEFT 的 examples/sft 有 chatml 与 zephyr;如今由分词器自带。ChatML 出自 OpenAI(2023)。",
        ),
        misread=(
            "ChatML is OpenAI's format, not Anthropic's: <|im_start|>role, a line break, the text, <|im_end|>; no <human> and <assistant> tags. Zephyr is Hugging Face H4's: <|user|>, a line break, the text, the end token. Firefly's template_name is a name in its own list, not config.json's model_type: Qwen2 models take qwen.",
            "ChatML 是 OpenAI 的格式,并非 Anthropic 的:<|im_start|>角色、换行、正文、<|im_end|>,没有 <human>、<assistant> 标签。Zephyr 出自 Hugging Face H4,格式为 <|user|>、换行、正文、结束符。Firefly 的 template_name 是其自有列表中的名称,不是 config.json 的 model_type,例如 Qwen2 模型也写 qwen。",
        ),
    )
    template_arguments: dict[str, bool | str] = setting(
        dict,
        en="Further words that the chat template reads, such as enable_thinking: false. They are written into the saved template, so that generation gets the same prompt.",
        zh="交给对话模板的其他变量,如 enable_thinking: false。它们会写进保存的模板,推理时提示保持一致。",
        up=(
            "The template knows switches, as Qwen3's enable_thinking.",
            "模板带有开关(如 Qwen3 的 enable_thinking)时设置。",
        ),
        down=("Leave it empty to take the template's own choices.", "留空则采用模板默认行为。"),
        history=(
            "chat_template_kwargs in Axolotl, TRL and vLLM, where it is given anew at every call.",
            "Axolotl、TRL、vLLM 中为 chat_template_kwargs,那里每次调用都须重新传入。",
        ),
        misread=(
            "enable_thinking: false takes no thoughts out of the rows; it only begins the answer with an empty one.",
            "enable_thinking: false 不会删除数据中的思考过程,只是让回答以空的思考块开头。",
        ),
    )
    system: str | None = setting(
        None,
        en="System message for rows that have none.",
        zh="为没有系统消息的样本补上的系统消息。",
        up=("The model is always used with one.", "推理时总带系统消息则设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
    )
    train_on: tuple[Literal["assistant", "user", "system", "tool", "template"], ...] = setting(
        ("assistant",),
        en="Roles whose turns are learned; with template among them, every token of a conversation is, the text that the template writes around the turns too.",
        zh="参与学习的角色;其中若有 template,则对话的全部词元都参与学习,包括模板在各回合之外写出的文本。",
        up=("Add user to learn both sides.", "想同时学习用户发言时加入 user。"),
        down=("assistant alone for answers.", "只学回答时仅留 assistant。"),
        history=(
            "Axolotl: train_on_inputs, roles_to_train; PEFT's examples/sft learned every token, the questions too; ChatGLM3's demo learns the role token that follows an answer as its end.",
            "Axolotl 为 train_on_inputs、roles_to_train;PEFT 的 examples/sft 学习全部词元(含问题);ChatGLM3 示例把回答之后的角色词元作为结束来学习。",
        ),
        misread=(
            "What is masked is still read: the mask only keeps a token out of the loss, not out of the context.",
            "被屏蔽的词元仍会被模型看到:掩码只是不计入损失,并不从上下文中去除。",
        ),
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
        cost=(
            "Activations grow in proportion, and the time of attention with the square.",
            "激活显存成正比增长,注意力耗时随平方增长。",
        ),
        history=(
            "sequence_len (Axolotl), max_seq_length (Firefly, TRL up to 0.19; max_seq_len worked as its abbreviation), max_length (TRL today). ChatGLM3's max_input_length + max_output_length + 1 were one budget in training.",
            "Axolotl 为 sequence_len;Firefly 与 TRL 0.19 及以前为 max_seq_length(max_seq_len 曾作为其缩写有效);如今的 TRL 为 max_length。ChatGLM3 训练时以 max_input_length + max_output_length + 1 为同一预算。",
        ),
        misread=(
            "It cuts or drops rows; it gives the model no longer context and no more power of expression. Rows need not be padded to it: a decoder takes any length. Hundreds are BERT's habit; today's rows take thousands.",
            "它只截断或丢弃样本,不会让模型的上下文更长、表达能力更强;也不必把样本都填充到该长度,解码器可接受任意长度。128、512 是 BERT 时代的取值,如今常为数千。",
        ),
    )
    min_length: int = setting(
        0,
        ge=0,
        unit="tokens",
        en="Drop documents of fewer tokens.",
        zh="丢弃词元数少于该值的文档。",
        up=("Very short rows teach nothing.", "过短的样本没有学习价值时调大。"),
        down=("0 keeps them all.", "0 表示全部保留。"),
        history=("Axolotl's min_sample_len, 2 where it is unset.", "对应 Axolotl 的 min_sample_len,不设时为 2。"),
    )
    overlong: Literal["drop", "truncate", "truncate_left", "keep_answer", "split", "refuse"] = setting(
        "drop",
        en="What becomes of a row longer than max_length. truncate cuts its end off, truncate_left its beginning; keep_answer leaves out what lies between the system message and the last answer, as much as is needed.",
        zh="超过 max_length 的样本如何处理。truncate 截去末尾,truncate_left 截去开头;keep_answer 在系统消息与最后一个回答之间按需删减,尽量保全回答。",
        up=(
            "split for plain text, keep_answer for long conversations, truncate to keep prompts whole.",
            "纯文本用 split,长对话用 keep_answer,想保留提示用 truncate。",
        ),
        down=("refuse to be told instead.", "想得到报错提示用 refuse。"),
        history=(
            "Axolotl drops such rows; Firefly, ChatGLM3 and TRL without packing cut them on the right, so the end token is lost; old packing cut wherever a row ended.",
            "Axolotl 丢弃超长样本;Firefly、ChatGLM3 与不打包的 TRL 从右侧截断,结束符因此丢失;旧式打包在行尾任意处切断。",
        ),
    )
    vanished: Literal["refuse", "drop"] = setting(
        "refuse",
        en="What becomes of a row of which a cut to max_length leaves nothing to learn: refuse the run, or drop the row and count it.",
        zh="截断到 max_length 后不再含可学习内容的样本如何处理:refuse 拒绝运行,drop 丢弃并计数。",
        up=("drop when such rows are known and few.", "已知此类样本且数量不多时用 drop。"),
        down=("refuse: a long question alone teaches nothing.", "refuse:只剩提问的样本学不到任何东西。"),
        history=(
            "Trainers that cut on the right kept such rows with every label masked: they cost time, and gave no loss.",
            "从右侧截断的训练器会保留这类样本,其标签全被屏蔽:只耗时间,不产生损失。",
        ),
    )
    bad_rows: int = setting(
        0,
        ge=0,
        unit="rows",
        en="How many unusable rows may be set aside before the run is refused. They are written to a file of their own, with what is wrong with each, and can be read from there once they are repaired.",
        zh="允许搁置的坏行数,超过则拒绝运行。坏行连同原因另存为一个文件,修复后可直接作为数据来源读取。",
        up=("Scraped data with known dirt.", "爬取数据已知有脏行时调大。"),
        down=("0 for curated data.", "精选数据用 0。"),
    )
    shuffle: bool = setting(
        True,
        en="Shuffle the documents anew each epoch.",
        zh="每轮重新打乱文档顺序。",
        up=("Nearly always.", "几乎总应开启。"),
        down=("The order is a curriculum.", "顺序即课程学习时关闭。"),
        history=(
            "Trainers shuffle by a sampler; Axolotl shuffles the merged set once and its sampler again.",
            "各训练器由采样器打乱;Axolotl 先整体打乱一次,采样器再打乱。",
        ),
    )
    mix: Literal["shuffled", "in_turn"] = setting(
        "shuffled",
        en="How several sources come together: shuffled, or in_turn: each spread evenly over the epoch, the larger ones more often. Packs go by the turn of their longest document.",
        zh="多个来源如何混合:shuffled 整体打乱;in_turn 轮流取样,各来源按比例均匀分布于整轮。打包时按包内最长文档的次序排列。",
        up=("in_turn when a small source must not come in lumps.", "希望小数据集均匀分布、不扎堆时用 in_turn。"),
        down=("shuffled otherwise: by chance it is even too.", "其他情况用 shuffled,随机打乱本就大致均匀。"),
        history=(
            "interleave_datasets of the datasets library takes one row of each source in turn and stops (or begins anew) where the shortest ends; here every document comes as often as its source's weight says.",
            "datasets 库的 interleave_datasets 从各来源轮流各取一行,最短的取完即停(或从头再取);这里每个文档出现的次数只由来源的 weight 决定。",
        ),
    )
    curriculum: Literal["none", "short_first", "long_first"] = setting(
        "none",
        en="Go through each epoch by the length of the documents, of packs by their longest; equal ones stay as shuffle and mix have them.",
        zh="每轮按文档长度排序,打包时按包内最长文档排序;长度相同者保持 shuffle 与 mix 的次序。",
        up=(
            "short_first may steady the start; long_first shows at once whether memory suffices.",
            "short_first 可使起步更稳,long_first 可立即看出显存是否够用。",
        ),
        down=("none in general: sorted batches resemble each other.", "一般用 none:排序后相邻批次过于相似。"),
        cost=(
            "Steps differ in their mix of rows, so the loss curve drifts with length.",
            "各步样本构成不同,损失曲线随长度漂移。",
        ),
        history=(
            "Curriculum learning: Bengio et al. 2009; by sequence length: Li et al. 2022.",
            "课程学习:Bengio 等,2009;按序列长度:Li 等,2022。",
        ),
    )
    deduplicate: bool = setting(
        False,
        en="Drop exact duplicates of earlier rows.",
        zh="去除与前面完全相同的样本。",
        up=("Merged or scraped sources.", "合并或爬取的数据开启。"),
        down=("Repeats are meant.", "有意重复时关闭。"),
    )
    near_duplicates: float | None = setting(
        None,
        gt=0,
        le=1,
        unit="share",
        en="Drop rows that share at least this part of their word triples with an earlier one (Jaccard, estimated by MinHash: Broder 1997). System messages do not count.",
        zh="与前面某样本的三词片段重合度不低于该值时去除(Jaccard 系数,用 MinHash 估计:Broder 1997);系统消息不参与比较。",
        up=("Too much falls away.", "去除过多时调高。"),
        down=("Scraped or generated rows repeat themselves: 0.8.", "爬取或生成的数据多有雷同时设置,如 0.8。"),
        cost=(
            "About a third of the time of preparation, and 2 kB of memory per row.",
            "数据处理耗时约增加三分之一,每行约占 2 kB 内存。",
        ),
    )
    group_by_length: bool = setting(
        False,
        en="Put documents of similar length into one micro-batch.",
        zh="把长度相近的文档放进同一微批。",
        up=("To repeat a run that did.", "复现使用过它的实验时开启。"),
        down=("Nothing is padded here, so it saves nothing.", "这里没有填充,开启并不省时间。"),
        cost=("Elsewhere it saves padding; here nothing is padded.", "在其他系统中可减少填充;这里没有填充。"),
        history=(
            "Gone from transformers 5, where train_sampling_strategy: group_by_length took over.",
            "transformers 5 已移除,由 train_sampling_strategy: group_by_length 取代。",
        ),
        misread=(
            "It is not free: rows of one length share a step, so the order is no longer random and the loss curve shows waves.",
            "并非没有代价:长度相近的样本集中在同一步,顺序不再随机,损失曲线会出现波动。",
        ),
    )
    cache: str | None = setting(
        None,
        en="Directory for prepared data; unset means the user's cache directory.",
        zh="处理后数据的缓存目录;不设则用用户缓存目录。",
        up=("Several machines share a disk.", "多机共享磁盘时设置。"),
        down=("Leave it out otherwise.", "否则留空。"),
        cost=("A few bytes of disk per token.", "每个词元占数字节磁盘。"),
    )
    workers: int = setting(
        0,
        ge=0,
        unit="processes",
        en="Processes that prepare rows; 0 takes one per core, up to 8, where there is enough to do, and 1 stays in this one.",
        zh="数据处理进程数;0 表示数据足够多时每个核心一个,最多 8 个;1 表示只用当前进程。",
        up=("More than 8 cores are free.", "空闲核心多于 8 个时调大。"),
        down=("Memory is short, or the cores are needed elsewhere.", "内存不足或核心另有用途时调小。"),
        cost=(
            "Each process holds its own tokenizer: about 100 MB.",
            "每个进程各有一份分词器,约占 100 MB。",
        ),
    )
