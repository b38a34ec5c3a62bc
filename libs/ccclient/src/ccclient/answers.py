"""How both clients read an answer that is not what was asked for."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from ccdaemon.errors import PeerError
from ccdaemon.net.http_client import Answer
from ccschema.jsonin import BodyError, decode

T = TypeVar("T")
_SHOWN = 500


class _ErrorBody(msgspec.Struct):
    error: str = ""
    msg: str = ""


def reason(answer: Answer) -> str:
    """The peer's words: `error` of a JSON body, else the text, shortened."""
    text = answer.body.decode("utf-8", "replace").strip()
    if "json" in answer.headers.get("content-type", ""):
        try:
            body = msgspec.json.decode(answer.body, type=_ErrorBody)
            text = body.error or body.msg or text
        except (msgspec.MsgspecError, ValueError, RecursionError):  # ValueError: no UTF-8
            pass
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"


def not_now(who: str, what: str, answer: Answer) -> PeerError:
    """An answer that says nothing about the request itself (401, 403, 429, 5xx, a proxy's page): it may be repeated."""
    hint = " (is the token right, and has it the role api?)" if answer.status in (401, 403) else ""
    return PeerError(who, f"{what}: HTTP status {answer.status}{hint}: {reason(answer)}", answer.retry_after())


def body_of(who: str, what: str, answer: Answer, type_: type[T]) -> T:
    """The decoded body of a good answer, lenient about nulls, case and unknown keys; PeerError."""
    try:
        return decode(answer.body, type_)
    except BodyError as error:
        raise PeerError(who, f"{what}: unreadable answer: {error}") from None
