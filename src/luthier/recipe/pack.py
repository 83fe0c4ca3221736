"""How many documents share a row of tokens, and how they fill it."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting


class Pack(Section):
    """How documents share a row of tokens; they never see one another."""

    kind: Literal["none", "best_fit", "first_fit", "concatenate"] = setting(
        "best_fit",
        en="How documents fill a pack: best_fit and first_fit keep them whole (by falling length, Ding et al. 2024); concatenate lays them end to end and cuts, each piece a document of its own; none gives each its own.",
        zh="文档如何填充打包:best_fit、first_fit 保持文档完整(按长度递减,Ding 等,2024);concatenate 首尾相接后切断,每段自成一个文档;none 表示各自独立。",
        up=(
            "Documents are much shorter than the row; concatenate to fill every row in pretraining.",
            "文档远短于行长时打包;预训练想填满每一行时用 concatenate。",
        ),
        down=("none to count a batch in documents.", "想按文档数计批时用 none。"),
        cost=(
            "No token is padding: with short rows two to five times faster than padding.",
            "没有填充词元:短样本时比填充快两到五倍。",
        ),
        history=(
            "Packing used to leak: TRL up to 0.18 and Firefly's pretraining concatenate and cut, so attention ran across documents and their ends were cut anywhere; TRL 0.19 packs by first fit, from 0.20 by best fit, isolated. Axolotl isolates documents and restarts positions.",
            "打包曾会串文:TRL 0.18 及以前与 Firefly 预训练直接拼接再切断,注意力跨越文档,文档在任意处被截;TRL 0.19 用首次适应,0.20 起用最佳适应并隔离。Axolotl 隔离文档并重置位置编号。",
        ),
        misread=(
            "It does not merge rows into a batch, nor (but for concatenate) cut them: several whole documents share one row of tokens, and none sees another. An append_concat_token joins nothing; it put an end token after each row.",
            "打包不是把样本合成一个批次,也不切断样本(concatenate 除外):若干完整文档共用一行词元,彼此不可见。append_concat_token 并不起连接作用,只是在每行之后加结束符。",
        ),
    )
    length: int | None = setting(
        None,
        gt=0,
        unit="tokens",
        en="Tokens in a pack; unset means data.max_length.",
        zh="每个打包的词元数;不设则取 data.max_length。",
        up=("Memory is left over.", "显存有余时调大。"),
        down=("Memory is short.", "显存不足时调小。"),
        cost=("Activations grow in proportion.", "激活显存成正比增长。"),
        history=(
            "Axolotl packs one row of micro_batch_size x sequence_len tokens under variable-length attention; pad_to_sequence_len then pads it to a multiple of 64.",
            "Axolotl 在变长注意力下打成一行 micro_batch_size x sequence_len 个词元;pad_to_sequence_len 再填充到 64 的倍数。",
        ),
    )
