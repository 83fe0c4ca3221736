"""No template works without end or fills the memory, and none that is honest is kept from its work."""

# ruff: noqa: E501

from __future__ import annotations

import tracemalloc

import pytest

from luthier.data.jinja import LONGEST, compile_template
from luthier.errors import TemplateError

GROW = "{% set ns = namespace(x=X) %}{% for i in range(99) %}{% set ns.x = STEP %}{% endfor %}"


def growing(start: str, step: str, end: str = "") -> str:
    return GROW.replace("X", start).replace("STEP", step) + end


ENDLESS = {
    "loops in loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop's own text": "{% set x %}{% for a in range(99999) %}" + "long " * 2000 + "{% endfor %}{% endset %}",
    "a macro's own text": "{% macro m() %}"
    + "long " * 2000
    + "{% endmacro %}{% for a in range(99999) %}{{ m() }}{% endfor %}",
    "a filtered loop": "{% for a in range(99999) %}{% for b in range(99999) if b < 0 %}{% endfor %}{% endfor %}",
    "loop that calls itself": "{% for a in range(9) recursive %}{% if loop.depth < 99 %}{{ loop(range(9)) }}{% endif %}{% endfor %}",
    "loop over what it is called with": (
        "{% for a in [1] recursive %}{% if loop.depth < 9 %}{% set x = loop(range(99999)) %}{% endif %}{% endfor %}"
    ),
    "macros that call themselves": "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
    "macros that call themselves twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(99) }}",
    "a filter in a filter": "{% for a in range(99999) %}{{ range(99999) | reject('defined') | list }}{% endfor %}",
    "map over map": "{% for a in range(99999) %}{{ range(99999) | map('string') | reject('defined') | list }}{% endfor %}",
    "sorting": "{% for a in range(99999) %}{% set x = range(99999) | groupby('real') %}{% endfor %}",
    "looking through": "{% set x = 'ab' * 999999 %}{% for a in range(99999) %}{% set y = 'ba c' in x %}{% endfor %}",
    "finding": "{% set x = 'ab' * 999999 %}{% for a in range(99999) %}{% set y = x.find('ba c') %}{% endfor %}",
    "slices": "{% set x = 'ab' * 999999 %}{% for a in range(99999) %}{% set y = x[1:] %}{% endfor %}",
    "many arguments": "{% macro m() %}{{ varargs }}{% endmacro %}{% for a in range(99999) %}{% set y = m(*range(99999)) %}{% endfor %}",
}
HUGE = {
    "multiplied text": "{{ 'a' * 10 ** 9 }}",
    "multiplied list": "{{ ([1] * 10 ** 9) | length }}",
    "number times text": "{{ 10 ** 9 * 'a' }}",
    "powers": "{{ 10 ** (10 ** 9) }}",
    "powers of powers": growing("9", "ns.x ** 9", "{{ ns.x }}"),
    "products": growing("9", "ns.x * ns.x", "{{ ns.x }}"),
    "center": "{{ 'a' | center(10 ** 9) }}",
    "center, a method": "{{ 'a'.center(10 ** 9) }}",
    "zfill": "{{ 'a'.zfill(10 ** 9) }}",
    "tabs": "{{ ('\t' * 9999).expandtabs(99999) }}",
    "indent": "{{ ('\n' * 9999) | indent(10 ** 6) }}",
    "indent by text": "{{ ('\n' * 9999) | indent('a' * 9999) }}",
    "tojson": "{{ [[[1]]] | tojson(indent=10 ** 9) }}",
    "format": "{{ '%999999999d' | format(1) }}",
    "format by argument": "{{ '%*d' | format(999999999, 1) }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "format, a method": "{{ '{:999999999}'.format('a') }}",
    "format in format": "{{ '{:{}}'.format('a', 999999999) }}",
    "format, many times": "{{ ('%(a)s' * 99999) % {'a': 'a' * 99999} }}",
    "replace": "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "replace nothing": "{{ ('a' * 99999).replace('', 'b' * 99999) }}",
    "join": "{{ range(99999) | join('b' * 99999) }}",
    "join, a method": "{{ ('b' * 99999).join('a' * 99999) }}",
    "batch": "{{ [1] | batch(10 ** 9, 0) | list }}",
    "slice": "{{ [1] | slice(10 ** 9) | list | length }}",
    "bytes": "{{ (1).to_bytes(10 ** 9, 'big') }}",
    "translate": "{{ ('a' * 99999).translate({97: 'b' * 99999}) }}",
    "date": "{{ strftime_now('%c' * 10 ** 6) }}",
    "added": growing("'ab'", "ns.x + ns.x"),
    "joined": growing("'ab'", "ns.x ~ ns.x"),
    "printed": "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}{% endfor %}",
    "lists": growing("[1]", "ns.x + ns.x"),
    "lists in lists": growing("[1]", "[ns.x, ns.x]", "{{ ns.x }}"),
    "lists in lists, as JSON": growing("[1]", "[ns.x, ns.x]", "{{ ns.x | tojson }}"),
    "lists in lists, compared": growing("[1]", "[ns.x, ns.x]", "{{ ns.x == ns.x[:1] + ns.x[1:] }}"),
    "dicts in dicts": growing("{}", "dict(a=ns.x, b=ns.x)", "{{ ns.x }}"),
    "batches of batches": growing("[1, 1]", "(ns.x + ns.x) | batch(2) | list", "{{ ns.x }}"),
    "sum of lists": "{{ [[1] * 999] * 999 | sum(start=[]) }}",
}  # fmt: skip


@pytest.mark.parametrize("attack", HUGE)
def test_what_fills_the_memory_is_refused_before_it_does(attack: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError):
            compile_template(HUGE[attack])(messages=[])
        assert tracemalloc.get_traced_memory()[1] < 300 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("attack", ENDLESS)
def test_what_works_without_end_is_refused(attack: str) -> None:
    if attack != "macros that call themselves":  # which is as deep as Python goes, first
        with pytest.raises(TemplateError, match="loops too long"):
            compile_template(ENDLESS[attack])(messages=[])


def test_tuples_do_not_overrun_the_stack() -> None:
    deep = (
        "{% set ns = namespace(x=()) %}{% for i in range(99999) %}{% set ns.x = (ns.x,) %}{% endfor %}{{ {ns.x: 1} }}"
    )
    with pytest.raises(TemplateError, match="too deep"):
        compile_template(deep)()


@pytest.mark.parametrize("source", ["{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}", "{{ 1" + " + 1" * 9999 + " }}"])
def test_a_tree_that_is_too_deep_is_no_template(source: str) -> None:
    with pytest.raises(TemplateError, match="is not Jinja"):
        compile_template(source)


def test_a_template_has_an_end() -> None:
    with pytest.raises(TemplateError, match="is the most"):
        compile_template("a" * (LONGEST + 1))


def test_a_namespace_does_not_write_itself_out() -> None:
    assert (
        compile_template("{% set ns = namespace() %}{% set ns.a = [ns, ns] %}{{ ns.a }}")()
        == "[<namespace>, <namespace>]"
    )


def test_a_large_conversation_may_cost_more() -> None:
    source = (
        "{% for m in ms %}{% set x = m.content | trim ~ '\n' %}{{ x[:-1] + x | upper }}{{ m | tojson }}{% endfor %}"
    )
    ms = [{"role": "user", "content": "A" * 5_000_000}] * 3 + [{"role": "user", "content": "b"}] * 5000
    text = compile_template(source)(ms=ms)
    assert len(text) == 3 * (15_000_001 + len('{"role": "user", "content": ""}')) + 5000 * (3 + 32)


def test_ordinary_filters_and_methods_are_as_they_were() -> None:
    source = (
        "{{ [3, 1] | sort | join(', ') }} {{ 'a-b'.split('-') | join }} {{ '%s=%03d' | format('x', 7) }} "
        "{{ '{:>3}|{}'.format('a', 5) }} {{ '-'.join(['a', 'b']) }} {{ 'a\nb' | indent(2) }} {{ 'ab' | center(6) }}|"
        "{{ [[1, 2], [3]] | sum(start=0, attribute=0) }} {{ {'a': [1]} | tojson(indent=1) }} {{ 'aXb' | replace('X', '') }} "
        "{{ [1, 2, 3, 4][1:3] }} {{ (1, 2) < (1, 3) }} {{ 'a' ~ 1 ~ none }} {{ [1, 2, 3] | batch(2, 0) | list }}"
    )
    assert compile_template(source)() == (
        '1, 3 ab x=007   a|5 a-b a\n  b   ab  |4 {\n "a": [\n  1\n ]\n} ab [2, 3] True a1None [[1, 2], [3, 0]]'
    )


def test_loops_know_their_length_and_neighbours() -> None:
    source = "{% for x in xs %}{{ loop.index }}/{{ loop.length }}{{ loop.previtem }}{{ ',' if not loop.last }}{% else %}none{% endfor %}"
    assert compile_template(source)(xs=["a", "b"]) == "1/2,2/2a"
    assert compile_template(source)(xs=[]) == "none"
