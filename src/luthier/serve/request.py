"""A chat completion's request, checked: the shapes of OpenAI's API, of which all that a local model can honour is."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from luthier.data.example import Message
from luthier.recipe.evaluate import Generation


class BadRequest(Exception):
    """What a client asked for cannot be done; ``field`` is where."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.field = field


class Turn(BaseModel):
    """One message."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)

    def message(self) -> Message:
        """The turn as templates know it; parts of text are joined.

        Raises:
            BadRequest: a part is no text.
        """
        role = "system" if self.role == "developer" else self.role
        return Message(role, self._text(), tool_calls=tuple(self.tool_calls))

    def _text(self) -> str:
        if not isinstance(self.content, list):
            return self.content or ""
        if any(part.get("type") != "text" or not isinstance(part.get("text"), str) for part in self.content):
            raise BadRequest("only text can be read", "messages")
        return "".join(part["text"] for part in self.content)


class StreamOptions(BaseModel):
    """What a stream ends with."""

    include_usage: bool = False


class Request(BaseModel):
    """The body of ``POST /v1/chat/completions``; what no local model has a use for (user, metadata) is ignored."""

    model_config = ConfigDict(extra="ignore")
    messages: list[Turn] = Field(min_length=1, max_length=4096)
    model: str = ""
    max_tokens: int | None = Field(None, gt=0)
    max_completion_tokens: int | None = Field(None, gt=0)
    temperature: float | None = Field(None, ge=0, le=10)
    top_p: float | None = Field(None, gt=0, le=1)
    n: Literal[1] | None = None
    stop: str | list[str] | None = None
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[dict[str, Any]] | None = None

    @field_validator("stop")
    @classmethod
    def _some(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value is not None and (len(value) > 16 if isinstance(value, list) else False):
            raise ValueError("at most 16 of them")
        return value

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the answer and are not part of it."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(one for one in given if one)

    def generation(self, usual: Generation) -> Generation:
        """How to generate: what is asked for, else as usual here."""
        asked = {
            "max_new_tokens": self.max_completion_tokens or self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
        }
        return usual.model_copy(update={name: value for name, value in asked.items() if value is not None})


def request_of(body: bytes) -> Request:
    """A request's body, read.

    Raises:
        BadRequest: it is no JSON, or not of this shape.
    """
    try:
        return Request.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadRequest(f"{place or 'the body'}: {first['msg']}", place or None) from error
