"""Content negotiation: which of the things that a header lists the client accepts. Pure.

Source: RFC 9110, 12.4.2 (weights), 12.5.1 (Accept), 12.5.3 (Accept-Encoding), 13.1.2
(If-None-Match).
"""

import re
from collections.abc import Sequence
from typing import Final

_QUALITY: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def accepts(header: str, name: str) -> bool:
    """Return whether a header lists `name`, which is in lower case, with another weight than 0.

    The header is a list such as `text/html, text/event-stream;q=0.5`. Wildcards do not count.
    """
    header = header.lower()
    return name in header and any(_is_accepted(item, name) for item in header.split(","))


def _is_accepted(item: str, name: str) -> bool:
    value, *parameters = item.split(";")
    if value.strip() != name:
        return False
    for parameter in parameters:
        key, _, text = parameter.partition("=")
        if key.strip() == "q":
            return text.strip().strip("0.") != ""
    return True


def matches_etag(header: str, etag: str) -> bool:
    """Return whether If-None-Match lists an entity tag: weakly, in any position, or by `*`.

    `etag` has its quotes.
    """
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def choose(header: str, offers: Sequence[str]) -> str:
    """Return the media type of `offers` that the client likes best; "" if it accepts none.

    Among equals the first of `offers` wins. An empty header accepts everything. An offer may end in
    `/*`: then it stands for each type of its kind, and the type that the header names is returned.
    """
    ranges = [_parse_range(item) for item in header.lower().split(",") if item.strip()]
    if not ranges:
        return offers[0] if offers else ""
    best, best_quality = "", 0.0
    for offer in offers:
        media_type, quality = _match(offer, ranges)
        if quality > best_quality:
            best, best_quality = media_type, quality
    return best


def _match(offer: str, ranges: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """Return the media type of an offer that the ranges name, and its quality.

    The most specific range that covers the offer decides (RFC 9110, 12.5.1).
    """
    kind = offer.partition("/")[0].lower()
    if offer.endswith("/*"):
        named = [
            r
            for r in ranges
            if r[1] > 0.0 and r[0].startswith(f"{kind}/") and not r[0].endswith("/*")
        ]
        if named:
            return max(named, key=lambda item: item[1])
    for covering in (offer.lower(), f"{kind}/*", "*/*"):
        for media_range, quality in ranges:
            if media_range == covering:
                return offer, quality
    return "", 0.0


def _parse_range(item: str) -> tuple[str, float]:
    media_range, *parameters = item.split(";")
    quality = 1.0
    for parameter in parameters:
        key, _, text = parameter.partition("=")
        if key.strip() == "q":
            quality = float(text) if _QUALITY.fullmatch(text.strip()) else 0.0
    return media_range.strip(), quality
