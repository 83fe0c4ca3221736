"""What the terminal and the page say around the tokens, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence

from luthier.show.document import Cut, Document
from luthier.show.first import FirstBatch
from luthier.show.trace import Use

Pair = tuple[str, str]
"""A text in English and in Chinese."""

WORDS: dict[str, Pair] = {
    "title": ("What the trainer sees", "训练器实际看到的内容"),
    "first batch": ("The first micro-batch", "首个微批次"),
    "row": ("Row", "行"),
    "learned": ("learned", "参训"),
    "read": ("read only", "仅作上下文"),
    "control": ("control token", "控制词元"),
    "legend": ("legend", "图例"),
    "tokens": ("tokens", "词元"),
    "text": ("text", "文本"),
    "why": ("why", "原因"),
    "colon": (": ", "："),
    "as read": ("As it was read", "读取结果"),
    "rendered": ("Rendered and tokenised", "渲染与切分"),
    "fate": ("fate", "处理结果"),
    "use": ("first epoch", "首轮训练"),
    "other language": ("中文", "English"),
    "unknown use": (
        "the run cannot be prepared, so where the row is used is not known",
        "无法准备该任务，因此不知道此行用在何处",
    ),
    "no use": ("no document of this row is left to train on", "此行没有留下可训练的文档"),
    "foot": (
        "Made by luthier show. This page loads nothing from anywhere.",
        "由 luthier show 生成。本页面不加载任何外部内容。",
    ),
}

FATES: dict[str, Pair] = {
    "kept": ("kept whole", "完整保留"),
    "split": ("split", "切分"),
    "truncated": ("truncated", "截断"),
    "dropped": ("dropped, because it is too long", "过长，丢弃"),
    "short": ("dropped, because it is too short", "过短，丢弃"),
    "untrained": ("left out, because nothing of it would be learned", "没有可学内容，舍去"),
    "vanished": ("left out, because the cut leaves nothing to learn", "截断后没有可学内容，舍去"),
    "duplicate": ("left out as a duplicate", "重复，舍去"),
    "near_duplicate": ("left out as a near duplicate", "近似重复，舍去"),
    "refused": ("refused, because it is too long", "过长，拒绝"),
}


def headline(first: FirstBatch) -> Pair:
    """Which batch of how many it is."""
    return (
        f"step 1 of {first.steps:,}, micro-batch 1 of {first.micros:,}",
        f"第 1 步（共 {first.steps:,} 步），第 1 个微批次（共 {first.micros:,} 个）",
    )


def summary(first: FirstBatch) -> Pair:
    """What the batch holds."""
    tokens, learned, documents = first.batch.tokens, first.batch.targets, len(first.documents)
    share = f"{learned / max(1, tokens):.1%}"
    english = f"{_many(documents, 'document')}, {_many(tokens, 'token')}, {learned:,} learned ({share}), padding 0"
    chinese = f"{documents:,} 个文档，{tokens:,} 个词元，其中 {learned:,} 个参训（{share}），填充 0"
    if first.fill is None:
        return f"{english}; each document has a row to itself", f"{chinese}；每个文档独占一行"
    return (
        f"{english}; {_many(first.packs, 'pack')} of {first.capacity:,} tokens, {first.fill:.1%} full",
        f"{chinese}；打包成 {first.packs:,} 行，每行容量 {first.capacity:,} 个词元，填充率 {first.fill:.1%}",
    )


def counted(document: Document) -> Pair:
    """How long a document is, and how much of it is learned."""
    tokens, learned = len(document.ids), sum(document.learned)
    return f"{_many(tokens, 'token')}, {learned:,} learned", f"{tokens:,} 个词元，其中 {learned:,} 个参训"


def place(document: Document, first: FirstBatch) -> Pair:
    """Where in the batch a document stands."""
    begin, end = document.start, document.start + len(document.ids)
    return (
        f"pack {document.pack + 1} of {first.packs}, {begin:,} to {end:,} of the batch's tokens",
        f"第 {document.pack + 1} 行（共 {first.packs} 行），批次词元 {begin:,} 至 {end:,}",
    )


def cut_words(cut: Cut | None) -> Pair:
    """What became of a document's row."""
    if cut is None:
        return "not followed back to its row", "未能追溯到原始行"
    english, chinese = FATES[cut.fate]
    if cut.fate != "kept":
        english += f": {cut.length:,} of {_many(cut.of, 'token')}"
        chinese += f"：{cut.of:,} 个词元中的 {cut.length:,} 个"
    if cut.parts > 1:
        english, chinese = (
            f"{english}, part {cut.part} of {cut.parts}",
            f"{chinese}，共 {cut.parts} 段，此为第 {cut.part} 段",
        )
    if not cut.whole:
        english += f", tokens {cut.begin:,} to {cut.end:,} in this pack"
        chinese += f"，此行取其词元 {cut.begin:,} 至 {cut.end:,}"
    return english, chinese


def all_uses(uses: Sequence[Use] | None) -> list[Pair]:
    """Where the documents of a row are used, or why that cannot be said."""
    if uses is None:
        return [WORDS["unknown use"]]
    return [use_words(use) for use in uses] or [WORDS["no use"]]


def use_words(use: Use) -> Pair:
    """Where a document of a row is used."""
    if use.step is None:
        return f"document {use.document}: held out for evaluation", f"文档 {use.document}：留作验证"
    if not use.step:
        return f"document {use.document}: not used", f"文档 {use.document}：未使用"
    english = f"document {use.document}: step {use.step:,}, micro-batch {use.micro}, pack {use.pack}"
    chinese = f"文档 {use.document}：第 {use.step:,} 步，第 {use.micro} 个微批次，第 {use.pack} 行"
    return f"{english}, tokens {use.begin:,} to {use.end:,}", f"{chinese}，词元 {use.begin:,} 至 {use.end:,}"


def fate_words(fate: str, lengths: list[int]) -> Pair:
    """A row's fate, and how long the documents are that remain."""
    english, chinese = FATES[fate]
    if not lengths:
        return english, chinese
    shown = ", ".join(f"{length:,}" for length in lengths)
    return f"{english}: {shown} tokens go on", f"{chinese}：{shown} 个词元"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
