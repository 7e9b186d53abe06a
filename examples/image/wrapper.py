"""Demo service `image`: return a thumbnail of a picture, and facts about the picture."""

import io
from collections import Counter

from PIL import Image, ImageOps, UnidentifiedImageError

from aseloader import Choice, Data, Input, Integer, Output, Refused, Wrapper

# A small file may decode to a very large picture.
Image.MAX_IMAGE_PIXELS = 20_000_000
TooLarge = Image.DecompressionBombError


class Thumbnail(Wrapper):
    """Make a thumbnail of a PNG or JPEG, and return its size, mode and dominant colours."""

    service = "image"
    total = 4
    idempotent = True

    width = Integer(16, 4096, default=256, doc="width of the thumbnail, in pixels")
    format = Choice("png", "jpeg", "webp", default="png", doc="format of the thumbnail")
    quality = Integer(1, 100, default=85, doc="quality of jpeg and webp")
    image = Input("image", encodings=("png", "jpg", "jpeg"))
    thumbnail = Output("image")
    facts = Output("text", format="json")

    def once(self, params, inputs, context):
        try:
            picture = Image.open(io.BytesIO(inputs["image"].data), formats=("PNG", "JPEG"))
            picture.load()
            photo = ImageOps.exif_transpose(picture)  # as a viewer shows it
        except (UnidentifiedImageError, TooLarge, OSError, SyntaxError, ValueError):
            raise Refused("not a readable PNG or JPEG picture")
        height = max(1, round(photo.height * params["width"] / photo.width))
        if height > 8192:
            raise Refused("the thumbnail would be more than 8192 pixels high; ask for less width")
        resized = to_8_bit(photo).resize((params["width"], height))
        opaque = Image.new("RGB", resized.size, "white")
        opaque.paste(resized, mask=resized if resized.mode == "RGBA" else None)
        quantized = opaque.quantize(5)
        palette = quantized.getpalette() or []
        pixel_counts = Counter(quantized.tobytes())  # by the index of the colour
        indices = sorted(pixel_counts, key=lambda index: (pixel_counts[index], index))
        colours = [palette[3 * i : 3 * i + 3] for i in indices]
        buffer = io.BytesIO()
        thumbnail = opaque if params["format"] == "jpeg" else resized  # JPEG has no transparency
        thumbnail.save(buffer, params["format"], quality=params["quality"])
        facts = {"width": photo.width, "height": photo.height, "mode": picture.mode}
        facts["colours"] = ["#" + bytes(colour).hex() for colour in reversed(colours)]
        return {
            "thumbnail": Data(buffer.getvalue(), {"encoding": params["format"]}),
            "facts": facts,
        }


def to_8_bit(picture):
    """Return a picture in RGB, or in RGBA if it has transparent pixels."""
    if picture.mode.startswith("I"):  # 16 bits of grey
        return picture.convert("I").point(lambda value: value / 256).convert("L").convert("RGB")
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")
