"""Texts in rendered Python source. Pure."""


def docstring_body(text: str) -> str:
    """Return what to write between triple quotes for a docstring with the value `text`.

    Source: The Python Language Reference, 2.4.1: a literal ends at its quotes, and a backslash
    begins an escape. Characters that cannot be printed are escaped too, except line ends.
    """
    escaped = "".join(
        char if char == "\n" or (char.isprintable() and char != "\\") else _escape(char)
        for char in text
    )
    body = escaped.rstrip('"')
    return body.replace('"""', '\\"\\"\\"') + '\\"' * (len(escaped) - len(body))


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()
