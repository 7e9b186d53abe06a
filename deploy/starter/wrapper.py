"""The commonest words of a text, as a service."""

from collections import Counter

from aseloader import Input, Integer, Output, Refused, Wrapper


class Words(Wrapper):
    """Tells the commonest words of a text."""

    service = "words"  # the id in the URL: POST /v1/words
    total = 2  # requests at a time
    top = Integer(1, 20, default=3)
    text = Input("text", max_bytes=100_000)
    counts = Output("text", format="json")

    def init(self, config):
        """Load the model; the gateway sends requests only after this."""

    def once(self, params, inputs, context):
        try:
            tokens = inputs["text"].data.decode().lower().split()
        except UnicodeDecodeError:
            raise Refused("the text is not UTF-8")
        return {"counts": dict(Counter(tokens).most_common(params["top"]))}
