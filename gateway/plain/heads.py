"""What the head of a plain request decides: the forms of its body and of its answer. Pure."""

from typing import Final

from gateway.plain import answers
from gateway.request.response import HttpError
from rpc.bounded_cache import BoundedCache
from schemas.model.media_types import media_type_of
from schemas.model.plain import PlainApi, PlainMember
from schemas.model.service import DataType

FORM: Final = "application/x-www-form-urlencoded"
MULTIPART_FORM: Final = "multipart/form-data"
_MAX_CACHED: Final = 256
_MAX_CACHED_BYTES: Final = 256  # of a key


class PlainHead:
    """The forms of one request.

    `media_type` is that of the body, `content_type` the whole field. `raw_input` is the input that
    the body is, None for JSON and forms. `answer_type` is the media type of the answer.
    `is_type_named`: the client names it itself, not by a wildcard. `file_name` is the name of the
    output that may be a body of its own; "" if there is none.
    """

    __slots__ = (
        "answer_type", "content_type", "file_name", "is_type_named", "media_type", "raw_input",
    )  # fmt: skip

    def __init__(
        self,
        content_type: str,
        media_type: str,
        raw_input: PlainMember | None,
        answer_type: str,
        is_type_named: bool,
        file_name: str,
    ) -> None:
        self.content_type = content_type
        self.media_type = media_type
        self.raw_input = raw_input
        self.answer_type = answer_type
        self.is_type_named = is_type_named
        self.file_name = file_name


class PlainHeads:
    """The forms of the requests of one service, by their headers; clients repeat few of them."""

    def __init__(self, api: PlainApi) -> None:
        self._api = api
        self._cache: BoundedCache[tuple[bytes, bytes], PlainHead] = BoundedCache(_MAX_CACHED)
        output = api.file_output()
        self._file_name = output.name if output is not None else ""

    def find(self, content_type: bytes, accept: bytes) -> PlainHead:
        """Return the forms by Content-Type and Accept. Raises HttpError 415 and 406."""
        key = (content_type, accept)
        head = self._cache.entries.get(key)
        if head is None:
            head = self._decide(content_type.decode("latin-1"), accept.decode("latin-1"))
            if len(content_type) + len(accept) <= _MAX_CACHED_BYTES:
                self._cache.add(key, head)
        return head

    def _decide(self, content_type: str, accept: str) -> PlainHead:
        media_type = content_type.partition(";")[0].strip().lower()
        is_form = media_type == MULTIPART_FORM
        is_file_request = is_form or media_type not in (answers.JSON, FORM, "")
        raw_input = self._raw_input(media_type) if is_file_request and not is_form else None
        _check_charset(content_type, media_type)
        answer_type = answers.negotiate(self._api, accept, is_file_request=is_file_request)
        if not answer_type:
            available = ", ".join(answers.offers(self._api, is_file_request=is_file_request))
            raise HttpError(406, f"the Accept header has none of: {available}")
        is_named = answer_type.lower() in accept.lower()
        return PlainHead(
            content_type, media_type, raw_input, answer_type, is_named, self._file_name
        )

    def _raw_input(self, media_type: str) -> PlainMember:
        """Return the input that a body of a media type is. Raises HttpError 415 without one."""
        binary, texts = self._api.raw_inputs()
        candidates = texts if media_type.startswith("text/") else binary
        if len(candidates) == 1 and media_type:
            return candidates[0]
        raise self.unsupported_error()

    def unsupported_error(self) -> HttpError:
        """Return the error 415 with the media types of bodies that the service takes."""
        binary, texts = self._api.raw_inputs()
        types = [answers.JSON, MULTIPART_FORM, FORM]
        types += ["text/plain"] if len(texts) == 1 else []
        types += [f"the media type of {binary[0].name}"] if len(binary) == 1 else []
        return HttpError(415, f"content-type must be one of: {', '.join(types)}")

    def body_types(self) -> list[str]:
        """Return the media types of bodies that the service takes, for the field Accept-Post.

        Source: Linked Data Platform 1.0, 7.1.
        """
        binary, texts = self._api.raw_inputs()
        types = [answers.JSON, MULTIPART_FORM, FORM]
        types += ["text/*"] if len(texts) == 1 else []
        if len(binary) == 1:
            member = binary[0]
            data_type = member.data_type if member.data_type is not None else DataType.OTHER
            encodings = [media_type_of(data_type, name) for name in member.encodings]
            is_media = data_type is not DataType.OTHER
            types += encodings or ([f"{data_type.key}/*"] if is_media else ["*/*"])
        return list(dict.fromkeys(types))


def _check_charset(content_type: str, media_type: str) -> None:
    """Raise HttpError 415 for text in another charset than UTF-8."""
    if not (media_type in (answers.JSON, FORM) or media_type.startswith("text/")):
        return
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.strip().lower().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise HttpError(415, "content-type: the charset must be utf-8")
