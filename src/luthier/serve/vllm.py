"""What serves the same model to many clients at once: the commands for vLLM."""

from __future__ import annotations

from pathlib import Path

from luthier.model.adapter_files import KINDS, SETTINGS, adapter_settings


def vllm_commands(
    model: Path, directory: Path, *, name: str, host: str, port: int, template: Path | None
) -> list[list[str]]:
    """The words of each command, one after the other; none where vLLM cannot serve the model.

    An adapter is merged first, unless the run has done so; vLLM has no place for added tokens (prefix, prompt).

    Args:
        model: the run's folder, or the model's directory.
        directory: where its weights lie.
        name: the model's name to clients.
        port: 0 leaves vLLM its own.
        template: a chat template's file, where it is not the model's own.
    """
    served, first = directory, list[list[str]]()
    if (directory / SETTINGS).exists():
        if KINDS.get(str(adapter_settings(directory).get("peft_type"))) not in ("lora", "ia3"):
            return []
        run = directory.parent if directory.name == "model" else None
        served = run / "merged" if run else directory.with_name(f"{directory.name}-merged")
        if not (served / "config.json").exists():
            first = [["luthier", "merge", str(model), "--out", str(served)]]
    words = ["vllm", "serve", str(served), "--served-model-name", name, "--host", host]
    words += ["--port", str(port)] if port else []
    words += ["--chat-template", str(template)] if template else []
    return [*first, words]
