"""``luthier serve``: a trained model behind OpenAI's chat completions."""

from __future__ import annotations

import hashlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luthier.cli.generation import MaxNewTokens, Result, Template, settings_of
from luthier.environment import cache_folder
from luthier.errors import RunError

if TYPE_CHECKING:
    from luthier.data.encoder import Encoder

KEY = "LUTHIER_API_KEY"
"""The environment's variable that holds the key which clients show; a word on the command line would be seen by all."""


def command(
    model: Result,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own needs a key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8000,
    name: Annotated[str, typer.Option(help="The model's name to clients; its folder's otherwise.")] = "",
    template: Template = "auto",
    max_new_tokens: MaxNewTokens = None,
) -> None:
    """Serve a model at /v1/chat/completions, one answer at a time."""
    import importlib.util

    if not all(importlib.util.find_spec(package) for package in ("starlette", "uvicorn")):
        raise RunError("needs starlette and uvicorn", place="luthier serve", remedy="pip install 'luthier[serve]'")
    import uvicorn

    from luthier.serve.server import Service, application, is_loopback
    from luthier.serve.vllm import vllm_commands
    from luthier.use.conversation import Speaker
    from luthier.use.result import open_to_answer

    key = os.environ.get(KEY) or None
    if not is_loopback(host) and key is None:
        remedy = f"set {KEY} to a long random word that clients give as their API key, or listen on 127.0.0.1"
        raise RunError(f"{host} can be reached from other machines, and no key is set", place="--host", remedy=remedy)
    usual = settings_of(model, max_new_tokens=max_new_tokens)
    result = open_to_answer(model)
    service = Service(Speaker(result, template), name or model.resolve().name, usual, key)
    file = _template_file(template, result.encoder)
    commands = vllm_commands(model, result.directory, name=service.name, host=host, port=port, template=file)
    if commands:
        typer.echo(f"for many clients at once: {' && '.join(map(shlex.join, commands))}", err=True)
    server = uvicorn.Server(
        uvicorn.Config(application(service, host), host=host, port=port, log_level="warning", access_log=False)
    )
    socket = server.config.bind_socket()
    typer.echo(f"{service.name} at http://{host}:{socket.getsockname()[1]}/v1 (Ctrl-C ends it)")
    server.run(sockets=[socket])


def _template_file(name: str, encoder: Encoder) -> Path | None:
    """A file with the named chat template, for a server that takes no names; None for the model's own."""
    if name == "auto":
        return None
    from luthier.data.template_names import template_source
    from luthier.record.folder import write_whole

    text = template_source(name, encoder)
    file = cache_folder() / "templates" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.jinja"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    return file
