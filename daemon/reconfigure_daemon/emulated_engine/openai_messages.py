"""The part of the OpenAI API that the emulated engine speaks: requests in, JSON out, faults as vLLM words them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from reconfigure_daemon.emulated_engine import tokens


class RequestRejected(Exception):
    """A request that cannot be served; `status` is its HTTP status, `kind` vLLM's name for it."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind = status, kind
        super().__init__(message)

    def body(self) -> dict[str, Any]:
        """As vLLM answers."""
        return {"error": {"message": str(self), "type": self.kind, "param": None, "code": self.status}}


class StreamOptions(BaseModel):
    """Whether the last event tells the usage."""

    include_usage: bool = False


class GenerationRequest(BaseModel):
    """Fields that both endpoints share; sampling parameters are accepted and change nothing."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    min_tokens: int = Field(default=0, ge=0)
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    return_token_ids: bool = False
    n: Literal[1] = 1

    @property
    def token_limit(self) -> int | None:
        """Most output tokens; None for what the context has room for."""
        return self.max_tokens

    def prompt_tokens(self) -> list[int]:
        """The prompt as tokens."""
        raise NotImplementedError


class CompletionRequest(GenerationRequest):
    """`POST /v1/completions` with one prompt, as text or as token ids."""

    prompt: str | list[int] | list[str] | list[list[int]]

    @property
    def token_limit(self) -> int | None:
        """OpenAI's default is 16."""
        return self.max_tokens or 16

    def prompt_tokens(self) -> list[int]:
        """The prompt as tokens; a list of prompts must have one."""
        prompt: Any = self.prompt
        if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
            if len(prompt) > 1:
                raise RequestRejected(400, "BadRequestError", f"{len(prompt)} prompts; the emulated engine takes one")
            prompt = prompt[0]
        return tokens.encode(prompt) if isinstance(prompt, str) else prompt


class TextPart(BaseModel):
    """A piece of a message's content."""

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn."""

    role: str
    content: str | list[TextPart] | None = None

    def text(self) -> str:
        """The turn as the model reads it."""
        parts = self.content if isinstance(self.content, list) else [TextPart(type="text", text=self.content or "")]
        return f"{self.role}: {' '.join(part.text for part in parts)}"


class ChatRequest(GenerationRequest):
    """`POST /v1/chat/completions`."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)

    @property
    def token_limit(self) -> int | None:
        """The newer name wins."""
        return self.max_completion_tokens or self.max_tokens

    def prompt_tokens(self) -> list[int]:
        """All turns, and the cue for the answer."""
        return tokens.encode("\n".join([*(message.text() for message in self.messages), "assistant:"]))


@dataclass(frozen=True, slots=True)
class Answer:
    """Writes the JSON of one request's answer, whole or in events."""

    id: str
    model: str
    created: int
    chat: bool
    prompt: Sequence[int]
    with_ids: bool

    @classmethod
    def to(cls, request: GenerationRequest, model: str, prompt: Sequence[int]) -> Answer:
        """An answer to this request."""
        chat = isinstance(request, ChatRequest)
        prefix = "chatcmpl" if chat else "cmpl"
        return cls(f"{prefix}-{uuid.uuid4().hex}", model, int(time.time()), chat, prompt, request.return_token_ids)

    def whole(self, output: Sequence[int], finish_reason: str) -> dict[str, Any]:
        """Everything at once."""
        text = tokens.decode(output)
        body = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        kind = "chat.completion" if self.chat else "text_completion"
        return self._object(kind, [self._choice(body, output, finish_reason)]) | {"usage": self.usage(len(output))}

    def event(self, output: Sequence[int], finish_reason: str | None, *, first: bool) -> dict[str, Any]:
        """Some tokens of a stream."""
        text = tokens.decode(output)
        delta = {"role": "assistant", "content": text} if first else {"content": text}
        body: dict[str, Any] = {"delta": delta} if self.chat else {"text": text}
        choice = self._choice(body, output, finish_reason)
        if self.with_ids and first:
            choice["prompt_token_ids"] = list(self.prompt)
        return self._object(self._event_kind, [choice])

    def usage_event(self, output_tokens: int) -> dict[str, Any]:
        """The last event of a stream whose client asked for its usage."""
        return self._object(self._event_kind, []) | {"usage": self.usage(output_tokens)}

    def usage(self, output_tokens: int) -> dict[str, int]:
        """Tokens of prompt and output."""
        return {
            "prompt_tokens": len(self.prompt),
            "completion_tokens": output_tokens,
            "total_tokens": len(self.prompt) + output_tokens,
        }

    @property
    def _event_kind(self) -> str:
        return "chat.completion.chunk" if self.chat else "text_completion"

    def _choice(self, body: dict[str, Any], output: Sequence[int], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, **body, "logprobs": None, "finish_reason": finish_reason}
        return choice | {"token_ids": list(output)} if self.with_ids else choice

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}
