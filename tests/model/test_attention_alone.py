"""Every kind of model learns from packs what it learns from documents: through our attention, or one by one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING

from luthier.data.batch import collate
from luthier.errors import ModelError
from luthier.evaluate.generate import generate
from luthier.methods.answers import likelihood
from luthier.methods.causal import SupervisedFineTuning
from luthier.methods.preference import SimplePreference
from luthier.methods.reward import Reward, rewards_of
from luthier.model.attention import register
from luthier.model.attention_alone import goes_alone, is_alone, run_alone
from luthier.model.attention_branches import register_branches
from luthier.model.attention_probe import check_isolation
from luthier.model.kernels.apply import facts_of, put_kernels
from luthier.model.kernels.architectures import OWN_ATTENTION, WITH_STATE
from luthier.model.kernels.choose import Choice, choose
from luthier.model.load import open_model
from luthier.model.prompts import with_prompts
from luthier.model.reward import as_reward_model
from luthier.recipe.evaluate import Generation
from luthier.recipe.method import Method as Settings
from luthier.recipe.parallel import Parallel
from luthier.recipe.validate import build
from tests.methods.test_preference import PAIRS, documents
from tests.model.kernels.models import tiny
from tests.model.test_attention import all_logits, document

CPU = torch.device("cpu")
EXPERTS: dict[str, Any] = {"num_local_experts": 4, "num_experts_per_tok": 2}
LATENT: dict[str, Any] = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}
DELTA: dict[str, Any] = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("llama", "blocks", {}),
    ("mistral", "blocks", {"sliding_window": 4}),
    ("qwen2", "blocks", {}),
    ("gpt2", "blocks", {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}),
    ("gptj", "blocks", {"rotary_dim": 4}),
    ("gpt_neox", "blocks", {}),
    ("gpt_bigcode", "blocks", {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}),
    ("opt", "blocks", {"dropout": 0.0, "word_embed_proj_dim": 32, "ffn_dim": 48, "max_position_embeddings": 64}),
    ("phi", "blocks", {}),
    ("gemma2", "eager", {"sliding_window": 6}),
    ("gemma3_text", "blocks", {"sliding_window": 6}),
    ("gpt_oss", "eager", {**EXPERTS, "sliding_window": 128}),
    ("mixtral", "blocks", EXPERTS),
    ("deepseek_v3", "blocks", LATENT),
    ("bloom", "alone", {"hidden_dropout": 0.0}),
    ("falcon", "alone", {"head_dim": ..., "num_key_value_heads": ...}),
    ("gpt_neo", "alone", {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}),
    ("mpt", "alone", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}),
    ("mamba", "alone", {"state_size": 4}),
    ("qwen3_next", "alone", DELTA),
    ("lfm2", "alone", {"layer_types": ["conv", "full_attention"]}),
]


def recipe(attention: str = "auto") -> Any:
    return build({"model": {"path": "m", "attention": attention}, "data": {"train": [{"path": "x"}]}}, str)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(model ready to train, its kernel) by architecture: saved, opened and given its kernels as a run does it."""
    known: dict[str, Any] = {}

    def get(kind: str) -> tuple[Any, str]:
        if kind not in known:
            changes = next(changes for name, _, changes in KINDS if name == kind)
            directory = tmp_path_factory.mktemp(kind)
            tiny(kind, None, **changes).save_pretrained(directory)
            model = open_model(directory, register(), torch.float32)
            model.config.use_cache = False
            chosen = choose(recipe(), facts_of(model, CPU, torch.float32))
            known[kind] = put_kernels(model, recipe(), chosen, CPU), chosen["attention"].name
        return known[kind]  # type: ignore[no-any-return]

    return get


@pytest.mark.parametrize(("kind", "kernel"), [one[:2] for one in KINDS])
def test_documents_of_a_pack_are_isolated_and_causal(kind: str, kernel: str, opened: Any) -> None:
    model, chosen = opened(kind)
    assert chosen == kernel
    check_isolation(model, compute=torch.float32)
    parts = [document(length, 110) for length in (7, 12, 6)]
    packed = all_logits(model.eval(), collate(parts))
    alone = torch.cat([all_logits(model, collate([one])) for one in parts])
    torch.testing.assert_close(packed, alone, rtol=0, atol=2e-5)
    ids = torch.from_numpy(parts[1].ids).long()[None]
    if not is_alone(model):
        name = model.config._attn_implementation
        model.set_attn_implementation("eager")
    with torch.no_grad():
        plain = model(input_ids=ids, use_cache=False).logits[0]
        shorter = model(input_ids=ids[:, :8], use_cache=False).logits[0]
    if not is_alone(model):
        model.set_attn_implementation(name)
    torch.testing.assert_close(packed[7:19], plain, rtol=0, atol=2e-5)
    torch.testing.assert_close(packed[7:15], shorter, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in KINDS])
def test_packed_training_is_training_on_documents(kind: str, opened: Any) -> None:
    model, _ = opened(kind)
    method, parts = SupervisedFineTuning(), [document(length, 110) for length in (9, 4, 13)]
    model.train()
    gradients, totals = [], []
    for batches in ([parts], [[one] for one in parts]):
        model.zero_grad(set_to_none=True)
        losses = [method.loss(model, method.collate(batch)).total for batch in batches]
        sum(losses).backward()  # type: ignore[union-attr]
        totals.append(float(sum(one.detach() for one in losses)))
        gradients.append({name: one.grad for name, one in model.named_parameters() if one.grad is not None})
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    for name, one in gradients[0].items():
        torch.testing.assert_close(one, gradients[1][name], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["bloom", "mamba", "lfm2"])
def test_a_leak_is_refused_before_the_first_step(kind: str, opened: Any) -> None:
    """The same models through attention that cannot isolate them."""
    model, _ = opened(kind)
    leaky = type(model)(model.config)
    leaky.load_state_dict(model.state_dict())
    forward = leaky.forward
    leaky.forward = lambda input_ids, **_: forward(input_ids, use_cache=False)
    with pytest.raises(ModelError, match="does not keep documents apart"):
        check_isolation(leaky, compute=torch.float32)


@pytest.mark.parametrize("kind", ["llama", "deepseek_v3", "gemma2", "gpt_oss", "bloom", "mamba"])
def test_answers_share_their_prompt_without_seeing_one_another(kind: str, opened: Any) -> None:
    found = []
    for shared in (True, False):
        model = copy.deepcopy(opened(kind)[0]).train()
        if not is_alone(model):
            model.set_attn_implementation(register_branches(model.config._attn_implementation))
        method = SimplePreference(Settings(), shared=shared)
        batch = method.collate(documents(PAIRS)).to(CPU)
        loss = method.loss(model, batch)
        loss.total.backward()
        gradients = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
        found.append((likelihood(model, batch).sums.detach(), gradients))  # type: ignore[arg-type]
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-4)
    for name, one in found[0][1].items():
        torch.testing.assert_close(one, found[1][1][name], rtol=1e-4, atol=1e-4, msg=name)


def test_a_reward_model_of_documents_one_by_one(opened: Any) -> None:
    model = as_reward_model(copy.deepcopy(opened("bloom")[0]), 0).eval()
    check_isolation(model, compute=torch.float32)
    method = Reward(Settings())
    together = rewards_of(model, method.collate(documents(PAIRS)))
    apart = torch.cat([rewards_of(model, method.collate([one])) for one in documents(PAIRS)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bloom", "mamba", "qwen3_next"])
def test_answers_do_not_depend_on_what_else_is_asked(kind: str, opened: Any) -> None:
    model, _ = opened(kind)
    prompts = [list(range(3, 3 + length)) for length in (4, 9, 4, 6)]
    settings = Generation(max_new_tokens=5)
    told: list[int] = []
    together = generate(model, prompts, settings, stops=[], pad=0, told=told.append)
    apart = [generate(model, [one], settings, stops=[], pad=0)[0] for one in prompts]
    assert together == apart and told == [2, 3, 4]
    ids = torch.tensor([prompts[1]])
    for new in together[1]:
        with torch.no_grad():
            assert int(model(input_ids=ids, use_cache=False).logits[0, -1].argmax()) == new
        ids = torch.cat([ids, torch.tensor([[new]])], dim=1)


def test_trained_prompts_go_before_each_document_and_prefixes_are_refused(opened: Any) -> None:
    from peft import PrefixTuningConfig, PromptTuningConfig

    bare = copy.deepcopy(opened("falcon")[0])
    model = with_prompts(bare, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)).eval()
    check_isolation(model, compute=torch.float32)
    parts = [document(length, 110) for length in (7, 12)]
    packed, alone = all_logits(model, collate(parts)), [all_logits(model, collate([one])) for one in parts]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=0, atol=2e-5)
    prefixed = with_prompts(bare, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with pytest.raises(ModelError, match="which a trained prefix does not do"):
        check_isolation(prefixed, compute=torch.float32)


def test_what_hangs_on_the_embedding_sees_the_whole_pack(opened: Any) -> None:
    model = copy.deepcopy(opened("bloom")[0])
    run_alone(model)
    widths: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda _, __, made: widths.append(made.shape[1]))
    all_logits(model, collate([document(5, 110), document(6, 110)]))
    assert widths == [11]


def test_any_model_can_be_told_to_go_alone() -> None:
    model = tiny("llama")
    put_kernels(model, recipe("alone"), choose(recipe("alone"), facts_of(model, CPU, torch.float32)), CPU)
    assert is_alone(model) and model.config._attn_implementation == "sdpa"
    parts = [document(7, 110), document(5, 110)]
    torch.testing.assert_close(
        all_logits(model, collate(parts)), all_logits(tiny("llama"), collate(parts)), rtol=0, atol=2e-5
    )


def test_layers_that_are_shared_out_are_run_equally_often() -> None:
    asked = recipe("alone").model_copy(update={"parallel": Parallel(engine="fsdp", stage=3)})
    with pytest.raises(ModelError, match="go one by one"):
        put_kernels(tiny("llama"), asked, {"attention": Choice("alone", "")}, CPU)


@pytest.mark.parametrize("kind", ["bloom", "stablelm", "mamba2", "gemma2", "llama"])
def test_the_table_says_what_the_classes_say(kind: str) -> None:
    named = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[kind]]
    closed = named._is_stateful or not named._supports_attention_backend
    assert goes_alone(kind) == closed == (kind in OWN_ATTENTION | WITH_STATE)
    assert not goes_alone("no_such_model")
