from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from luthier.errors import RunError
from luthier.record.events import Chosen, Compared, Evaluated, Finished, Stepped, Stopped, Warned
from luthier.record.folder import RunFolder
from luthier.report import write_report
from luthier.report.figures import count, plain, seconds, size
from luthier.report.page import build_page
from luthier.report.source import read_record
from tests.report.folders import (
    ACCOUNTS,
    PLAN,
    QUESTIONS,
    RECIPE,
    answered,
    evaluated,
    finished_run,
    make,
    prepared,
    resumed_run,
    saved,
    started,
    stepped,
)
from tests.report.reader import Page

HOSTILE = "</script></style><img src=x onerror=alert(1)>\"'&<b>{0}{x}\x00"
SEEN = "</script></style><img src=x onerror=alert(1)>\"'&<b>{0}{x}\ufffd"


def page_of(folder: RunFolder) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def hostile_folder(place: Path) -> RunFolder:
    row = {"origin": HOSTILE, "question": HOSTILE, "reference": HOSTILE, "answer": HOSTILE}
    asked = answered("before", 0, 0.5, 2, sample=[row], file=HOSTILE, metrics={"exact_match": 0.0, HOSTILE: 3.0})
    after = answered("after", 2, 0.5, 2, sample=[row], file=HOSTILE, metrics={"exact_match": 1.0, HOSTILE: 4.0})
    summary = {"rows": 3, "fates": {"kept": 2, HOSTILE: 1}, "bad_rows": [HOSTILE], HOSTILE: HOSTILE}
    events = [
        started(source=HOSTILE),
        prepared(HOSTILE, summary=summary),
        asked,
        stepped(1),
        stepped(2),
        after,
        saved(2, HOSTILE),
        Warned(step=2, message=HOSTILE),
        started(2, source=HOSTILE),
    ]
    plan = {"warnings": [HOSTILE], "memory": {HOSTILE: 5}, HOSTILE: HOSTILE}
    accounts = [dict.fromkeys(("key", "value", "place", "outcome", "target", "note"), HOSTILE)]
    recipe = f"model: {{path: '</title><b>'}}\nmethod: {{kind: '{HOSTILE[:-1].replace(chr(39), '')}'}}\n"
    return make(place / "a<b>&c", events, recipe=recipe, plan=plan, accounts=accounts)


def test_the_page_is_well_formed_and_whole(tmp_path: Path) -> None:
    page = page_of(make(tmp_path / "harrow", finished_run(), plan=PLAN, accounts=ACCOUNTS))
    assert [one.text for one in page.those("h1")] == ["harrow"]
    assert len(page.those("section")) == 6
    assert [one.attributes["id"] for one in page.those("h3") if "id" in one.attributes] == [
        "chart-loss",
        "chart-rate",
        "chart-norm",
        "chart-speed",
        "chart-memory",
        "chart-metric-0",
    ]


def test_writing_leaves_one_file_and_nothing_beside_it(tmp_path: Path) -> None:
    folder = make(tmp_path, finished_run(20))
    before = set(tmp_path.iterdir())
    assert write_report(folder) == folder.report
    assert set(tmp_path.iterdir()) - before == {folder.report}


def test_the_page_is_a_pure_function_of_the_folder(tmp_path: Path) -> None:
    record = read_record(make(tmp_path, finished_run(), plan=PLAN, accounts=ACCOUNTS))
    assert build_page(record) == build_page(record)


def test_the_headline_tells_what_ran_and_how_far(tmp_path: Path) -> None:
    text = page_of(make(tmp_path, finished_run())).text()
    assert (
        "Supervised fine-tuning · org/Violin-0.5B · LoRA of rank 16 Finished: all 240 planned steps in 6m 21s." in text
    )


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, resumed_run()))
    assert "Not finished: 90 of 240 planned steps in " in page.text("en")
    assert "尚未完成" in page.text("zh")


def test_figures_are_those_of_the_events(tmp_path: Path) -> None:
    events = finished_run()
    text = page_of(make(tmp_path, events, plan=PLAN)).text()
    steps = [one for one in events if isinstance(one, Stepped)]
    evaluations = [one for one in events if isinstance(one, Evaluated)]
    best = min(evaluations, key=lambda one: one.loss)
    assert f"Loss · training {plain(steps[-1].loss)} from {plain(steps[0].loss)} at the first step" in text
    assert f"Loss · evaluation {plain(evaluations[-1].loss)} best {plain(best.loss)} at step {best.step}" in text
    assert f"Steps 240 240 100% Tokens seen 1,920,000 {count(sum(one.tokens for one in steps))}" in text
    assert f"Time in steps 5m 40s {seconds(sum(one.seconds for one in steps))}" in text
    assert "Exact match on 300 rows Before 2% After 97%" in text
    assert "kept whole 9,600 97%" in text
    assert "Documents 9,713 300 Tokens 631,204 19,000 Trained tokens 208,551 (33%) 6,300 (33.2%)" in text
    assert "494,032,768, of which 8,798,208 train (1.78%)" in text


def test_curves_carry_the_values_of_the_events(tmp_path: Path) -> None:
    events = finished_run()
    page = page_of(make(tmp_path, events))
    loss = page.those("path", "raw")[0].attributes
    steps = [one for one in events if isinstance(one, Stepped)]
    assert loss["data-x"] == " ".join(str(one.step) for one in steps)
    assert loss["data-v"] == " ".join(plain(one.loss) for one in steps)


def chart_of(page: Page, name: str) -> dict[str, list[tuple[list[str], list[str]]]]:
    """Look of a line -> its (steps, values) in the chart whose heading has such a text."""
    at = next(n for n, one in enumerate(page.elements) if one.name == "figure" and name in one.text)
    lines: dict[str, list[tuple[list[str], list[str]]]] = {}
    for one in page.elements[at + 1 :]:
        if one.name == "figure":
            break
        if one.name == "path" and "data-x" in one.attributes:
            told = [(one.attributes[key] or "").split(" ") for key in ("data-x", "data-v")]
            lines.setdefault(one.attributes["class"] or "", []).append((told[0], told[1]))
    return lines


def test_memory_is_drawn(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, [started(), stepped(1, memory=2**30), stepped(2, memory=3 * 2**30)]))
    (told,) = chart_of(page, "highest so far")["main"]
    # Spaces part the values, so a size is two words there.
    assert told == (["1", "2"], f"{size(2**30)} {size(3 * 2**30)}".split(" "))


def test_every_metric_has_a_chart_over_time(tmp_path: Path) -> None:
    events = [
        started(),
        *(stepped(step, metrics={"margin": step / 10}) for step in range(1, 5)),
        evaluated(2, 1.0),
        Evaluated(step=4, loss=2.0, targets=9, seconds=1.0, metrics={"margin": 7.0, "perplexity": 9.0}),
        answered("during", 2, 0.25, 2),
        answered("during", 4, 0.75, 3),
    ]
    page = page_of(make(tmp_path, events))
    assert chart_of(page, "margin") == {
        "main": [(["1", "2", "3", "4"], ["0.1", "0.2", "0.3", "0.4"])],
        "second": [(["4"], ["7"])],
    }
    assert chart_of(page, "Exact match")["second"] == [(["2", "4"], ["0.25", "0.75"])]
    assert chart_of(page, "Perplexity")["second"] == [(["2", "4"], [plain(math.e), "9"])]


def test_the_headline_has_the_last_perplexity(tmp_path: Path) -> None:
    events = [started()]
    for step, value in ((1, 9.0), (2, 7.5)):
        events += [
            stepped(step),
            Evaluated(step=step, loss=1.0, targets=9, seconds=1.0, metrics={"perplexity": value}),
        ]
    headline = page_of(make(tmp_path, events)).text().partition("Curves")[0]
    assert re.search(r"Perplexity · \D* 7\.5 \D*2\b", headline) and " 9 " not in headline


def test_the_speed_is_of_whole_steps_the_wait_for_data_included(tmp_path: Path) -> None:
    events = [started(), *(stepped(step, tokens=100 * step, seconds=2.0, waited=1.5) for step in (1, 2))]
    assert chart_of(page_of(make(tmp_path, events)), "Tokens per second")["main"] == [(["1", "2"], ["50", "100"])]


def test_what_moved_and_which_weights_were_chosen(tmp_path: Path) -> None:
    events = [
        *finished_run(5)[:-1],
        Chosen(step=5, best_step=3, metric="loss", value=0.5),
        Compared(step=5, moved=14, unmoved=290, stood_still=["a.b"], drifted=["c.d"], before="b" * 64, after="a" * 64),
        Finished(step=5, reason="steps", seconds=5.0, result="model"),
    ]
    events[1] = prepared(key="5e6f")
    page = page_of(make(tmp_path, events))
    text = page.text()
    assert "The result has the weights of step 3, the best of all evaluations (loss 0.5)." in text
    assert "14 trained tensors moved, 290 frozen ones are bit for bit what they were" in text
    assert "Trained, but without a change: a.b" in text
    assert "Frozen, but changed: c.d" in text
    hashes = {one.text for one in page.those("code")}
    assert {"5e6f", "a" * 64, "b" * 64, hashlib.sha256(RECIPE.encode()).hexdigest()} <= hashes


def test_a_restart_says_how_the_process_before_ended(tmp_path: Path) -> None:
    events = [
        started(),
        stepped(1),
        Stopped(step=1, reason="SIGTERM asked it to stop"),
        started(1, at=60),
        stepped(2, at=60),
        started(2, at=90),
        stepped(3, at=90),
    ]
    text = page_of(make(tmp_path, events)).text()
    assert "The process before ended with: SIGTERM asked it to stop Began again at step 1" in text
    assert "The process before ended without a word. Began again at step 2" in text


def test_a_warning_names_its_rows(tmp_path: Path) -> None:
    warned = Warned(step=1, message="the loss stands out", rows=["d.jsonl:17", "d.jsonl:<b>"])
    text = page_of(make(tmp_path, [started(), stepped(1), warned])).text()
    assert "the loss stands out Rows 2 d.jsonl:17 d.jsonl:<b>" in text


def test_without_answers_from_before_it_says_how_to_get_them(tmp_path: Path) -> None:
    hint = "set evaluate.at_start: true"
    assert hint in page_of(make(tmp_path / "a", [started(), answered("after", 0, 0.25, 2)])).text()
    both = [started(), answered("before", 0, 0.2, 2), answered("after", 0, 0.25, 2)]
    assert hint not in page_of(make(tmp_path / "b", both)).text()


def test_what_was_measured_afterwards_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path, finished_run(5))
    folder.note_evaluation({"data": ["<b>.csv"], "when": "before", "figures": {"loss": 2.0, "exact_match": 0.5}})
    folder.note_evaluation({"data": [], "when": "after", "figures": {"loss": 1.0}})
    text = page_of(folder).text()
    assert "Measured afterwards" in text
    assert "<b>.csv Before loss 2 · Exact match 0.5" in text
    assert "the run's own rows After loss 1" in text
    folder.evaluations.write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be read as JSON lines"):
        write_report(folder)


def test_dark_and_narrow_screens_have_a_look_of_their_own(tmp_path: Path) -> None:
    source = write_report(make(tmp_path, finished_run(5))).read_text(encoding="utf-8")
    light, dark = (
        set(re.findall(r"(--[a-z-]+):", block))
        for block in re.findall(r":root \{(.*?)\}", re.search(r"<style>(.*?)</style>", source, re.DOTALL)[1], re.DOTALL)
    )
    assert light == dark
    assert len(light) > 10
    assert "@media (prefers-color-scheme: dark)" in source
    assert re.search(r"@media \(max-width: \d+rem\) \{.*\.samples thead \{ display: none; \}", source, re.DOTALL)


def test_answers_stand_side_by_side_with_marks(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, finished_run()))
    for question, reference, before, after in QUESTIONS:
        assert any(one.text.endswith(question) for one in page.those("td", "question"))
        assert any(reference in one.text for one in page.those("td", "reference"))
        told = [one.text for one in page.those("td", "after") if after in one.text]
        assert told
        assert all(("✓" in text) is (after == reference) for text in told)
        assert all("✗" in one.text for one in page.those("td", "before") if before in one.text)


def test_only_answers_before_make_one_column(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, [started(), answered("before", 0, 0.25, 2)]))
    assert "Generated answers Exact match on 300 rows Before 25%" in page.text()
    assert not page.those("td", "after")


def test_steps_taken_twice_appear_once(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, resumed_run()))
    assert page.those("path", "raw")[0].attributes["data-x"] == " ".join(str(step) for step in range(1, 91))
    assert "99" not in (page.those("path", "raw")[0].attributes["data-v"] or "").split()
    assert "Began again at step 40 from checkpoints/step-40 on cuda:0; steps taken a second time: 17." in page.text()
    assert len(page.those("line", "rule")) == 1


def test_a_run_that_only_started_has_a_page(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, [started()], recipe=None))
    assert "Not finished: 0 of 240 planned steps" in page.text()
    assert "No step has been taken yet." in page.text()
    assert "The folder holds no plan." in page.text()


def test_losses_that_are_not_numbers_are_marked_and_break_nothing(tmp_path: Path) -> None:
    lost = {30: math.nan, 31: math.inf, 60: -math.inf}
    events = [
        started(),
        *(stepped(step, loss=lost.get(step), skipped=step in lost, gradient_norm=math.nan) for step in range(1, 61)),
        evaluated(40, math.nan),
    ]
    page = page_of(make(tmp_path, events))
    assert "Not finite (NaN or ∞): step 30, 31, 40, 60 (4 in all)." in page.text()
    assert "Loss · training −∞ from" in page.text()
    assert "Loss · evaluation NaN step 40" in page.text()
    assert {one.text for one in page.those("text", "bad")} == {"NaN", "∞"}
    assert "Not applied, because the loss or its gradient was not finite: step 30, 31, 60 (3 in all)." in page.text()
    assert page.those("rect", "band")
    assert page.those("line", "band")
    for path in page.those("path"):
        assert "nan" not in (path.attributes["d"] or "").lower()
        assert "inf" not in (path.attributes["d"] or "").lower()


def test_a_run_of_nothing_but_nan_has_a_page(tmp_path: Path) -> None:
    events = [started(), *(stepped(step, loss=math.nan, seconds=0.0, tokens=0, targets=0) for step in range(1, 6))]
    assert "Not finite (NaN or ∞): step 1, 2, 3, 4, 5 (5 in all)." in page_of(make(tmp_path, events)).text()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    page = page_of(hostile_folder(tmp_path))
    assert not page.those("img")
    assert len(page.those("script")) == len(page.those("style")) == 1
    assert [one.text for one in page.those("h1")] == ["a<b>&c"]
    assert not any(key.startswith("on") or key == "style" for one in page.elements for key in one.attributes)
    assert sum(SEEN in one.text for one in page.those("td")) >= 15
    assert all(SEEN in one.text for one in page.those("td", "question"))


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    source = write_report(make(tmp_path, finished_run(), plan=PLAN, accounts=ACCOUNTS)).read_text(encoding="utf-8")
    page = Page(source)
    assert not {"src", "href", "srcset", "xlink:href", "action", "data", "poster"} & {
        k for e in page.elements for k in e.attributes
    }
    assert not {one.name for one in page.elements} & {"link", "img", "iframe", "object", "embed", "a", "base", "use"}
    assert not re.search(r"https?:|//[a-z]|url\(|@import|@font-face|fetch\(|XMLHttp|import\(", source)


def test_the_policy_allows_only_our_own_style_and_script(tmp_path: Path) -> None:
    source = write_report(make(tmp_path, finished_run(5))).read_text(encoding="utf-8")
    (policy,) = (e.attributes["content"] or "" for e in Page(source).those("meta") if "http-equiv" in e.attributes)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for name in ("style", "script"):
        (inner,) = re.findall(rf"<{name}>(.*?)</{name}>", source, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode() in policy


def test_every_label_stands_in_both_languages(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, finished_run(), plan=PLAN, accounts=ACCOUNTS))
    languages = [one.attributes["lang"] for one in page.elements if "lang" in one.attributes][1:]
    assert languages == ["en", "zh"] * (len(languages) // 2)
    english = [one.text for one in page.elements if one.attributes.get("lang") == "en"][1:]
    assert english
    assert not any(re.search(r"[\u4e00-\u9fff]", text) for text in english if text != "中文")


def test_english_without_a_script(tmp_path: Path) -> None:
    source = write_report(make(tmp_path, finished_run(5))).read_text(encoding="utf-8")
    assert '<html lang="en">' in source
    assert 'html[lang="en"] [lang="zh"], html[lang="zh"] [lang="en"] { display: none; }' in source
    (button,) = Page(source).those("button")
    assert "hidden" in button.attributes


def test_keys_are_counted_and_listed(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, finished_run(5), accounts=ACCOUNTS))
    assert "7 read as llamafactory applied 3 default 1 inert 1 replaced 1 refused 1" in page.text()
    for account in ACCOUNTS:
        assert any(one.text == account["key"] for one in page.those("code"))


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"memory": 3e9},
        {"memory": None, "parameters": 5, "tokens": "many", "warnings": "x"},
        {"odd": [1, {"a": None}]},
    ],
)
def test_whatever_the_plan_holds(tmp_path: Path, plan: dict[str, object]) -> None:
    page_of(make(tmp_path, finished_run(5), plan=plan))


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    path = write_report(make(tmp_path, [started(steps=20_000), *(stepped(step) for step in range(1, 20_001))]))
    assert path.stat().st_size < 250_000


def test_neither_torch_nor_transformers_is_imported() -> None:
    words = "import sys, luthier.report; sys.exit(bool({'torch', 'transformers', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", words], check=False).returncode == 0
