"""Demo service `image`: a picture in; a thumbnail, and facts about the picture, out."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image, UnidentifiedImageError

from aseloader import Choice, Context, Data, Input, Integer, Output, Outputs, Refused, Wrapper


class Thumbnail(Wrapper):
    """Makes a thumbnail of a PNG or JPEG, and tells its size, mode and dominant colours."""

    service = "image"
    total = 4
    idempotent = True

    width = Integer(16, 4096, default=256, doc="width of the thumbnail, in pixels")
    format = Choice("png", "jpeg", "webp", default="png", doc="format of the thumbnail")
    quality = Integer(1, 100, default=85, doc="quality of jpeg and webp")
    image = Input("image", encodings=("png", "jpg", "jpeg"))
    thumbnail = Output("image")
    facts = Output("text", format="json")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        """Open, measure, scale, encode."""
        try:
            picture = Image.open(io.BytesIO(inputs["image"].data), formats=("PNG", "JPEG"))
            picture.load()
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError):
            raise Refused("not a readable PNG or JPEG picture") from None
        height = max(1, round(picture.height * params["width"] / picture.width))
        if height > 8192:
            raise Refused("the thumbnail would be more than 8192 pixels high; ask for less width")
        small = picture.convert("RGB").resize((params["width"], height))
        palette = small.quantize(5)
        counts = sorted(palette.getcolors() or [], reverse=True)
        colours = palette.getpalette() or []
        out = io.BytesIO()
        small.save(out, params["format"], quality=params["quality"])
        return {
            "thumbnail": Data(out.getvalue(), {"encoding": params["format"]}),
            "facts": {
                "width": picture.width,
                "height": picture.height,
                "mode": picture.mode,
                "colours": ["#" + bytes(colours[3 * i : 3 * i + 3]).hex() for _, i in counts],
            },
        }
