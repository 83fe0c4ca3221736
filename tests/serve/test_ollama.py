"""Ollama's template writes what the model's own does, for every named template that one is known for."""

from __future__ import annotations

from pathlib import Path

import pytest

from luthier.data.encoder import Encoder
from luthier.data.jinja import compile_template
from luthier.data.template_names import template_names, template_source
from luthier.errors import ModelError, TemplateError
from luthier.serve.go_template import render
from luthier.serve.ollama import go_template, modelfile
from tests.data.made import make_tokenizer

UNKNOWN = {"alpaca", "firefly/chatglm2"}
"""Their questions are numbered, or hold the system message: a turn of Go's knows neither."""

TALK = (("user", "Who?"), ("assistant", "Tom, and 米拉."), ("user", "Where is {{ he }}?"))
SYSTEM = (("system", 'Say "little".'), *TALK)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    special = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "[gMASK]", "sop", "<sop>")
    place = make_tokenizer(tmp_path_factory.mktemp("tokenizer"), special=special, bos_token="<s>", eos_token="</s>")
    return Encoder.open(place)


def jinja(source: str, encoder: Encoder, talk: tuple[tuple[str, str], ...]) -> str:
    messages = [{"role": role, "content": content} for role, content in talk]
    text = compile_template(source)(
        messages=messages, tools=None, documents=None, add_generation_prompt=True, bos_token="<s>", eos_token="</s>"
    )
    return text.removeprefix("<s>")


def go(source: str, talk: tuple[tuple[str, str], ...]) -> str:
    system = "".join(content for role, content in talk if role == "system")
    return render(source, {"System": system, "Messages": [{"Role": role, "Content": text} for role, text in talk]})


@pytest.mark.parametrize("name", [name for name in template_names() if name not in UNKNOWN])
def test_other_conversations_than_those_it_was_tried_on_read_the_same(name: str, encoder: Encoder) -> None:
    source = template_source(name, encoder)
    text = go_template(source, encoder)
    assert go(text, TALK) == jinja(source, encoder, TALK)
    try:
        wanted = jinja(source, encoder, SYSTEM)
    except TemplateError:
        return
    assert go(text, SYSTEM) == wanted and go(text, SYSTEM[:2]) == jinja(source, encoder, SYSTEM[:2])


@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_a_template_that_is_not_known_is_refused(name: str, encoder: Encoder) -> None:
    with pytest.raises(ModelError, match="none is known") as caught:
        go_template(template_source(name, encoder), encoder)
    assert "chatml" in caught.value.faults[0].remedy


def test_the_file_names_the_model_its_template_and_its_stops(tmp_path: Path) -> None:
    place = make_tokenizer(tmp_path, eos_token="</s>")
    encoder = Encoder.open(place)
    (place / "chat_template.jinja").write_text(template_source("chatml", encoder), encoding="utf-8")
    lines = modelfile(place, adapter=False)
    assert lines.startswith('FROM .\nTEMPLATE """{{ range .Messages }}<|im_start|>{{ .Role }}\n')
    assert lines.endswith('"""\nPARAMETER stop "</s>"\nPARAMETER stop "<|im_end|>"\n')


def test_blanks_beside_a_minus_sign_are_no_text() -> None:
    """Golden, by hand after the rules of Go's text/template."""
    source = "a \n{{- if .Yes }} b {{ else -}} c {{- end }} d {{ len .All }}"
    source += "{{ range $i, $x := .All -}}\n {{ $i }}{{ $x }},{{ end }}"
    assert render(source, {"Yes": True, "All": ["p", "q"]}) == "a b  d 20p,1q,"
    assert render(source, {"Yes": False, "All": []}) == "ac d 0"
    assert render("{{ len (slice .All 1) }}{{ slice .Word 1 3 }}", {"All": ["p", "q", "r"], "Word": "abcd"}) == "2bc"
    assert (
        render('{{ if and .A (gt 3 2) (not (eq .B "x" "y")) }}1{{ else if .B }}2{{ end }}', {"A": "a", "B": "y"}) == "2"
    )


@pytest.mark.parametrize(
    "source", ["{{ .Nothing }}", "{{ end }}", "{{ if .A }}", "{{ with .A }}{{ end }}", "{{ .A | html }}"]
)
def test_what_is_not_known_is_refused(source: str) -> None:
    with pytest.raises(TemplateError):
        render(source, {"A": "a"})
