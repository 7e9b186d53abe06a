"""Content negotiation: which of the things that a header lists the client accepts. Pure.

Source: RFC 9110, 12.4.2 (weights), 12.5.1 (Accept), 12.5.3 (Accept-Encoding), 13.1.2
(If-None-Match).
"""


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
