"""Chat templates run in a sandbox, with the names that transformers gives them."""

from __future__ import annotations

from datetime import datetime

import pytest

from luthier.data.jinja import compile_template
from luthier.errors import TemplateError


def test_blocks_leave_no_blank_lines() -> None:
    assert compile_template("  {% if true %}\nyes\n  {% endif %}\n")() == "yes\n"


def test_the_generation_block_lets_its_body_through() -> None:
    source = "{% for m in ms %}[{% generation %}{% set x = m %}{{ x }}{% endgeneration %}]{% endfor %}"
    assert compile_template(source)(ms=["a", "b"]) == "[a][b]"


def test_loops_can_be_left_and_continued() -> None:
    source = (
        "{% for n in range(9) %}{% if n == 1 %}{% continue %}{% elif n == 4 %}{% break %}{% endif %}{{ n }}{% endfor %}"
    )
    assert compile_template(source)() == "023"


def test_tojson_escapes_nothing_that_json_does_not() -> None:
    assert compile_template("{{ x | tojson }}")(x={"b": "<ü'&>", "a": 1}) == '{"b": "<ü\'&>", "a": 1}'
    assert (
        compile_template("{{ x | tojson(indent=2, sort_keys=true) }}")(x={"b": 1, "a": 2})
        == '{\n  "a": 2,\n  "b": 1\n}'
    )


def test_the_date_can_be_had() -> None:
    assert compile_template("{{ strftime_now('%Y') }}")() in {str(datetime.now().year), str(datetime.now().year - 1)}


def test_a_template_can_refuse_a_conversation() -> None:
    with pytest.raises(TemplateError, match="refuses this conversation: roles must alternate"):
        compile_template("{{ raise_exception('roles must alternate') }}")()


@pytest.mark.parametrize("source", ["{% for %}", "{{ x", "{% generation %}never closed", "{% nonsense %}"])
def test_what_is_not_jinja_is_refused(source: str) -> None:
    with pytest.raises(TemplateError, match="is not Jinja"):
        compile_template(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__['JinjaError'] }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{% set x = messages.append('more') %}",
        "{{ range(10 ** 9) | list }}",
    ],
)
def test_a_template_cannot_leave_its_sandbox(source: str) -> None:
    messages = ["one"]
    with pytest.raises(TemplateError):
        compile_template(source)(messages=messages)
    assert messages == ["one"]


@pytest.mark.parametrize(
    "source", ["{{ 1 / 0 }}", "{{ none + 1 }}", "{{ {}.missing.more }}", "{{ [1].index(2) }}", "{{ [1].pop(9) }}"]
)
def test_whatever_a_template_raises_is_a_templates_error(source: str) -> None:
    with pytest.raises(TemplateError, match="refuses this conversation"):
        compile_template(source)()
