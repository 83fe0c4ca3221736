"""The recipe as a whole: written down and read again, it is the same recipe."""

from __future__ import annotations

import json
from typing import Any, Literal, get_args, get_origin

import annotated_types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, JsonValue, ValidationError

from luthier.dialects.document import load_yaml, to_yaml
from luthier.dialects.typography import key_problem
from luthier.recipe import Recipe
from luthier.recipe.field import Section, section_class

TEXTS = st.one_of(
    st.sampled_from(["on", "1e5", "12e4", "0o17", "0x1F", "012", "1_000", "null", "true", "1:30", ".inf", "<<", "="]),
    st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=12),
)
KEYS = TEXTS.filter(lambda text: key_problem(text) is None)
"""Those that no reader takes for a slip of typing."""
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=4,
)


def of_kind(kind: Any, rules: list[Any]) -> st.SearchStrategy[Any]:
    """Values that a field of this type and these bounds takes."""
    if isinstance(kind, type) and get_origin(kind) is None and issubclass(kind, Section):
        return trees(kind)
    if kind is JsonValue:
        return PLAIN
    if get_origin(kind) is Literal:
        return st.sampled_from(get_args(kind))
    if get_origin(kind) is tuple:
        return st.lists(of_kind(get_args(kind)[0], []), max_size=3)
    if get_origin(kind) is dict:
        value = get_args(kind)[1]
        inner = get_args(value)[0] if hasattr(value, "__metadata__") else value
        return st.dictionaries(KEYS, of_kind(inner, []), max_size=2)
    if get_args(kind) == (int, float, str):
        return st.sampled_from(["epoch", "never"]) | numbers(int, rules) | numbers(float, rules)
    if not isinstance(kind, type) and get_args(kind):
        return st.one_of(*(of_kind(one, rules) for one in get_args(kind)))
    if kind is str and any(isinstance(rule, AfterValidator) for rule in rules):  # Size
        return st.sampled_from(["5GB", "300 MB", "1.5TB"])
    simple = {bool: st.booleans(), str: TEXTS, type(None): st.none()}
    return simple[kind] if kind in simple else numbers(kind, rules)


def numbers(kind: type, rules: list[Any]) -> st.SearchStrategy[int | float]:
    """Numbers above every lower bound, and below 1 where anything at all is held from above."""
    least = max([1, *(rule.ge for rule in rules if isinstance(rule, annotated_types.Ge))])
    if kind is int:
        return st.integers(least + 1, 10**6)
    upper = annotated_types.Lt | annotated_types.Le | AfterValidator
    return st.floats(1e-12, 0.999 if any(isinstance(rule, upper) for rule in rules) else 1e12)


def trees(section: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """Trees of some of a section's settings."""
    fields = {name: of_kind(info.annotation, list(info.metadata)) for name, info in section.model_fields.items()}
    needed = {name for name, info in section.model_fields.items() if info.is_required()}
    return st.fixed_dictionaries(
        {name: values for name, values in fields.items() if name in needed},
        optional={name: values for name, values in fields.items() if name not in needed},
    )


@given(trees(Recipe))
@settings(max_examples=50, deadline=None)
def test_a_recipe_written_as_yaml_reads_as_the_same_recipe_under_both_versions(tree: dict[str, Any]) -> None:
    recipe = Recipe.model_validate_json(json.dumps(tree))
    for written in (recipe.tree(), recipe.tree(changed_only=True)):
        for version in ("1.1", "1.2"):
            again = load_yaml(to_yaml(written), "again", version=version).value
            assert Recipe.model_validate_json(json.dumps(again)) == recipe


def test_only_changed_settings_are_written_when_asked_for() -> None:
    recipe = Recipe.model_validate_json(
        '{"model": {"path": "m"}, "optimizer": {"lr": 0.0002, "beta1": 0.8}, "seed": 42}'
    )
    assert recipe.tree(changed_only=True) == {"model": {"path": "m"}, "optimizer": {"beta1": 0.8}}


def test_the_whole_tree_names_every_section_and_setting() -> None:
    tree = Recipe().tree()
    assert list(tree) == list(Recipe.model_fields)
    for name, info in Recipe.model_fields.items():
        section = section_class(info)
        if section is not None:
            assert list(tree[name]) == list(section.model_fields)
    json.dumps(tree, allow_nan=False)


def test_defaults_are_valid_settings_themselves() -> None:
    assert Recipe.model_validate_json(json.dumps(Recipe().tree())) == Recipe()


def test_sections_are_described_by_their_own_docstrings() -> None:
    described = Recipe.model_fields["batch"].description
    assert described and described.startswith("Micro-batch x accumulation x processes = one optimiser step")


def test_two_recipes_share_no_defaults() -> None:
    first, second = Recipe(), Recipe()
    assert first.optimizer.args is not second.optimizer.args


@pytest.mark.parametrize("name", ["seed", "optimizer"])
def test_a_recipe_cannot_be_changed(name: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Recipe(), name, 3)


def test_an_optimiser_of_several_names_has_one_here() -> None:
    for name, kind in {
        "lion": "lion_32bit",
        "adamw_torch": "adamw",
        "adamw_torch_fused": "adamw",
        "sgd": "sgd",
    }.items():
        assert Recipe.model_validate({"optimizer": {"kind": name}}).optimizer.kind == kind
