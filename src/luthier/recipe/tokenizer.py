"""Which tokenizer a run uses, or how one is trained."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting


class TokenizerTraining(Section):
    """A tokenizer trained on the run's own training data."""

    kind: Literal["bpe", "sentencepiece"] = setting(
        "bpe",
        en="bpe: byte-level BPE, as GPT-2 and Llama 3 have it; sentencepiece: BPE over characters with ▁ for a blank and bytes for rare characters, as Llama 2 has it.",
        zh="bpe:字节级 BPE,与 GPT-2、Llama 3 相同;sentencepiece:以字符为单位的 BPE,空格记作 ▁,罕见字符拆成字节,与 Llama 2 相同。",
        up=(
            "sentencepiece where other software expects Llama 2's form, or for scripts whose characters are several bytes.",
            "其他软件要求 Llama 2 的形式,或文字每个字符占多个字节时用 sentencepiece。",
        ),
        down=("bpe gives every text back to the byte.", "bpe 可逐字节还原任何文本。"),
        cost=(
            "sentencepiece spends 256 rows of the vocabulary on bytes and one on each frequent character.",
            "sentencepiece 的词表中有 256 行是字节,每个常用字符各占一行。",
        ),
    )
    vocabulary: int = setting(
        2048,
        ge=300,
        unit="tokens",
        en="Size of the vocabulary, special tokens included.",
        zh="词表大小(含特殊词元)。",
        up=("Texts become too many tokens.", "文本切分过碎时调大。"),
        down=("The embedding is too large a part of the model.", "嵌入在模型中占比过大时调小。"),
    )
    special: tuple[str, ...] = setting(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        en="Control tokens, never split; the first one is also the padding.",
        zh="不可切分的控制词元,第一个兼作填充。",
        up=("A chat template needs more of them.", "对话模板需要更多控制词元时增加。"),
        down=("Each costs one row of the embedding.", "每个占一行嵌入,不用的可去掉。"),
    )
    eos: str = setting(
        "<|im_end|>",
        en="The control token that ends a document and a turn.",
        zh="文档与回合的结束词元。",
        up=("The template ends turns with another one.", "模板用其他结束符时设置。"),
        down=("The default fits ChatML.", "默认值适用于 ChatML。"),
    )


class Tokenizer(Section):
    """Where the tokenizer comes from and what is changed in it."""

    path: str | None = setting(
        None,
        en="Directory or hub name; unset means the model's own.",
        zh="分词器目录或 hub 名称;不设则用模型自带的。",
        up=("The model directory has none.", "模型目录中没有分词器时设置。"),
        down=("Leave it out to use the model's.", "用模型自带的则留空。"),
    )
    train: TokenizerTraining | None = setting(
        None,
        en="Train a tokenizer on the training data first.",
        zh="先用训练数据训练一个分词器。",
        up=("Pretraining from scratch.", "从零预训练时设置。"),
        down=(
            "Never with pretrained weights: ids would change their meaning.",
            "已有权重时不可用,否则词元编号含义改变。",
        ),
    )
    bos: str | None = setting(
        None,
        en="Replace the beginning-of-sequence token.",
        zh="替换序列起始词元。",
        up=("A template needs another one.", "模板要求不同起始词元时设置。"),
        down=("Leave it to the tokenizer.", "一般保持分词器自带设置。"),
    )
    eos: str | None = setting(
        None,
        en="Replace the end-of-sequence token.",
        zh="替换序列结束词元。",
        up=("Turns end with another token than documents.", "对话结束符与文档结束符不同时设置。"),
        down=("Leave it to the tokenizer.", "一般保持分词器自带设置。"),
    )
    pad: str | None = setting(
        None,
        en="Replace the padding token; masks go by position, so pad may equal eos.",
        zh="替换填充词元;掩码按位置计算,因此可与 eos 相同。",
        up=("Other software insists on one.", "其他软件要求时设置。"),
        down=("Luthier itself does not pad.", "Luthier 自身不做填充。"),
        misread=(
            "Padding by the end token is safe only where masks go by position; collators that mask every pad id never learn to stop.",
            "只有按位置计算掩码时,用结束符作填充才安全;若整理函数屏蔽所有填充编号,模型就学不会停止。",
        ),
    )
    unk: str | None = setting(
        None,
        en="Replace the unknown token.",
        zh="替换未知词元。",
        up=("An old vocabulary lacks one.", "旧词表缺失时设置。"),
        down=("Byte-level vocabularies need none.", "字节级词表不需要。"),
    )
    added: tuple[str, ...] = setting(
        (),
        en="Ordinary tokens to add to the vocabulary.",
        zh="加入词表的普通词元。",
        up=("Domain words split into many pieces.", "领域词被切得过碎时添加。"),
        down=("Each new row has to be learned from this data alone.", "每个新词元只能靠本数据学习,宜少。"),
        cost=("One row of the embedding and one of the output layer each.", "每个词元占嵌入与输出层各一行。"),
    )
    added_special: tuple[str, ...] = setting(
        (),
        en="Control tokens to add to the vocabulary.",
        zh="加入词表的控制词元。",
        up=("A chat template needs them.", "对话模板需要时添加。"),
        down=("Leave it empty when the vocabulary has them.", "词表已有则留空。"),
        cost=("One row of the embedding and one of the output layer each.", "每个词元占嵌入与输出层各一行。"),
        history=(
            "PEFT's examples/sft adds “<|im_start|>user” and the like as single tokens; under LoRA those new rows stay untrained unless the embeddings are saved too.",
            "PEFT 的 examples/sft 把“<|im_start|>user”等整体加为单个词元;在 LoRA 下若不同时训练并保存嵌入,这些新行不会被训练。",
        ),
    )
