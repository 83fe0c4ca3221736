"""Why a token is learned or only read: the kinds of reasons and their words, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

WORDS: dict[str, tuple[str, str]] = {
    # learned
    "role": (
        "turn {turn} is the {role}'s, a role that data.train_on names",
        "第 {turn} 个回合由 {role} 发言，data.train_on 包含该角色",
    ),
    "terminator": ("the token that ends turn {turn}, learned with it", "第 {turn} 个回合的结束词元，随该回合一起学习"),
    "row": (
        "turn {turn} ({role}) is learned because its row says so",
        "第 {turn} 个回合（{role}）由该行自身标记为参训",
    ),
    "source": (
        "turn {turn} is the {role}'s, a role that its source's train_on names",
        "第 {turn} 个回合由 {role} 发言，其数据来源的 train_on 包含该角色",
    ),
    "stretch": (
        "a stretch of turn {turn} ({role}) that its row wants learned",
        "该行指定参训的片段（第 {turn} 个回合，{role}）",
    ),
    "terminator_too": (
        "the token that ends turn {turn}, learned because its source's train_on_eos says all",
        "第 {turn} 个回合的结束词元，因其数据来源的 train_on_eos 为 all 而参训",
    ),
    "whole": ("data.train_on names template: every token is learned", "data.train_on 含 template：全部词元参训"),
    "document": ("a plain document: all of its text is learned", "纯文本文档：全文参训"),
    "end": ("the token that ends the document, learned as the text before it", "文档的结束词元，随之前的文本一起学习"),
    "labels": ("its label in the row says so", "该行自带的标签要求学习"),
    # only read
    "other_role": (
        "turn {turn} is the {role}'s, a role that data.train_on ({roles}) does not name",
        "第 {turn} 个回合由 {role} 发言，data.train_on（{roles}）不含该角色",
    ),
    "row_off": (
        "turn {turn} ({role}) is only read because its row says so",
        "第 {turn} 个回合（{role}）由该行自身标记为不参训",
    ),
    "source_off": (
        "turn {turn} is the {role}'s, a role that its source's train_on does not name",
        "第 {turn} 个回合由 {role} 发言，其数据来源的 train_on 不含该角色",
    ),
    "stretch_off": (
        "turn {turn} ({role}): outside the stretches that its row wants learned",
        "第 {turn} 个回合（{role}）：不在该行指定参训的片段之内",
    ),
    "terminator_off": (
        "the token that ends turn {turn}, which its source's train_on_eos leaves out",
        "第 {turn} 个回合的结束词元，其数据来源的 train_on_eos 不让它参训",
    ),
    "earlier_turn": (
        "turn {turn} ({role}): data.last_turn_only learns a later turn alone",
        "第 {turn} 个回合（{role}）：data.last_turn_only 只学习最后一个参训回合",
    ),
    "system": ("the system message that data.system adds", "data.system 补上的系统消息"),
    "template": ("written by the template around the turns", "由对话模板在各回合之外写出"),
    "tokenizer": ("what the tokenizer itself puts before a text", "分词器自身加在文本之前的词元"),
    "end_off": (
        "the token that ends the text, only read as the text before it",
        "文本的结束词元，与之前的文本一样不参训",
    ),
    "labels_off": ("its label in the row is -100", "该行中它的标签为 -100"),
    "beginning_lost": (
        "the beginning of this answer was cut off, so the rest of it is only read",
        "该回答的开头已被截去，余下部分不参训",
    ),
    "first": (
        "to be learned, but the first token of its document: nothing before it could predict it",
        "本应参训，但它是文档的首个词元，之前没有可用于预测它的内容",
    ),
    # of rows whose answers are judged
    "prompt": ("the prompt, only read", "提示部分，仅作上下文"),
    "prompt_scored": ("the prompt, learned too, as the objective asks", "提示部分，按训练目标的要求一并参训"),
    "chosen": ("the chosen answer, scored against the rejected one", "优选回答，与劣选回答对比计分"),
    "rejected": ("the rejected answer, scored against the chosen one", "劣选回答，与优选回答对比计分"),
    "wanted": ("an answer that is wanted", "期望的回答"),
    "unwanted": ("an answer that is not wanted", "不期望的回答"),
    "mismatched": (
        "another row's answer, whose likelihood is what this row's is compared with",
        "另一行的回答，其似然作为本行回答的比较基准",
    ),
    "unknown": ("the row on disk does not lead to these tokens any more", "磁盘上的原始行已无法还原出这些词元"),
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind of reason, the turn it speaks of (from 1; 0 for none), its role, and the roles that are learned."""

    kind: str
    turn: int = 0
    role: str = ""
    roles: str = ""

    def words(self, language: str) -> str:
        """The reason as a phrase; ``language`` is ``en`` or ``zh``."""
        pattern = WORDS[self.kind][language == "zh"]
        return pattern.format(turn=self.turn, role=self.role, roles=self.roles)
