"""Media types of inputs and outputs, and the names of encodings that stand for them. Pure.

Source: the IANA registry of media types, and the names that schemas of services use.
"""

from typing import Final

from schemas.model.service import DataType

_MEDIA_TYPES: Final = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp",
    "gif": "image/gif", "bmp": "image/bmp", "tiff": "image/tiff", "tif": "image/tiff",
    "svg": "image/svg+xml", "avif": "image/avif", "heic": "image/heic",
    "wav": "audio/wav", "mp3": "audio/mpeg", "lame": "audio/mpeg", "flac": "audio/flac",
    "ogg": "audio/ogg", "opus": "audio/opus", "aac": "audio/aac", "m4a": "audio/mp4",
    "raw": "audio/L16", "pcm": "audio/L16",
    "mp4": "video/mp4", "webm": "video/webm", "mpeg": "video/mpeg", "mov": "video/quicktime",
    "json": "application/json", "npy": "application/x-npy", "pdf": "application/pdf",
    "zip": "application/zip",
}  # fmt: skip
_ALIASES: Final = {
    "image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav",
    "audio/vnd.wave": "audio/wav", "audio/mp3": "audio/mpeg", "audio/x-flac": "audio/flac",
    "image/x-ms-bmp": "image/bmp",
}  # fmt: skip
_ENCODINGS: Final = {
    media_type.lower(): [name for name, value in _MEDIA_TYPES.items() if value == media_type]
    for media_type in _MEDIA_TYPES.values()
}
_UNKNOWN: Final = "application/octet-stream"


def encodings(media_type: str, file_name: str = "") -> list[str]:
    """Return the names of encodings that a file may have, the likeliest first.

    The media type counts; if it says nothing, the ending of the file name. A media type that is not
    known is its own name: its part after the slash.
    """
    media_type = media_type.partition(";")[0].strip().lower()
    media_type = _ALIASES.get(media_type, media_type)
    if media_type in ("", _UNKNOWN, "text/plain"):
        ending = file_name.rpartition(".")[2].lower() if "." in file_name else ""
        if ending not in _MEDIA_TYPES:
            return [ending] if ending else []
        media_type = _MEDIA_TYPES[ending].lower()
    return _ENCODINGS.get(media_type) or [media_type.rpartition("/")[2]]


def media_type_of(data_type: DataType, encoding: str) -> str:
    """Return the media type of an output of a kind and with an encoding.

    One that does not fit the kind, or is not known, is `application/octet-stream`; text is UTF-8.
    """
    if data_type is DataType.TEXT:
        return "text/plain; charset=utf-8"
    media_type = _MEDIA_TYPES.get(encoding.lower(), _UNKNOWN)
    fits = data_type is DataType.OTHER or media_type.startswith(f"{data_type.key}/")
    return media_type if fits else _UNKNOWN
