"""The text around the question and the answer, where no chat template gives it."""

from __future__ import annotations

from luthier.recipe.field import Section, setting


class PromptFormat(Section):
    """A prompt of one's own in the place of a chat template, for rows of one question and one answer."""

    format: str = setting(
        "{instruction} {input} ",
        en="Text before the answer; {instruction} and {input} stand for the row's columns, and the answer follows it at once.",
        zh="回答之前的文本,{instruction} 与 {input} 代表该行的列,回答紧随其后。",
        up=("The model was trained on a text of its own.", "模型用自定义文本格式训练时设置。"),
        down=("Chat models know a template: leave prompt out.", "对话模型自带模板,不设 prompt 即可。"),
    )
    no_input_format: str | None = setting(
        None,
        en="The text before the answer for rows without an input; unset means format, with nothing for {input}.",
        zh="没有 input 的行所用的文本;不设则用 format,{input} 处留空。",
        up=("An empty heading would be left over.", "否则会留下空标题时设置。"),
        down=("No row has an input.", "所有行都没有 input 时不设。"),
    )
    system: str | None = setting(
        None,
        en="What system_format holds for rows without a system text of their own.",
        zh="自身没有系统文本的行,填入 system_format 的内容。",
        up=("The prompt begins with words to the model.", "提示以对模型的说明开头时设置。"),
        down=("Such words stand in format already.", "说明已写在 format 里时不设。"),
    )
    system_format: str = setting(
        "{system}",
        en="What stands before format where there is a system text; {system} stands for it.",
        zh="有系统文本时放在 format 之前的内容,{system} 代表该文本。",
        up=("It has a heading or a line break of its own.", "系统文本带标题或换行时设置。"),
        down=("{system} is the text alone.", "{system} 即只写文本本身。"),
    )
    answer: str = setting(
        "{output}",
        en="The answer itself; {output} stands for the row's, and the end token follows.",
        zh="回答本身,{output} 代表该行的回答,之后是结束符。",
        up=("Answers end in a token of the format.", "回答以格式自有的标记结尾时设置。"),
        down=("{output} is the answer alone.", "{output} 即只写回答本身。"),
    )
