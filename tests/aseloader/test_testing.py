"""The helper for authors: the demo wrappers, called without ports, on their real samples."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aseloader import Choice, Context, Data, Input, Output, Outputs, Refused, Wrapper
from aseloader.run import LoadError, load
from aseloader.testing import LoaderError, LoaderFor

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SAMPLES = {name: (EXAMPLES / name).read_bytes() for name in
           ("image/sample.jpg", "image/small.png", "audio/sample.wav")}  # fmt: skip


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("sample", ["image/sample.jpg", "image/small.png"])
def test_a_thumbnail_is_a_picture_of_the_asked_size_and_form(sample: str, form: str) -> None:
    with LoaderFor(load(str(EXAMPLES / "image/wrapper.py"))()) as call:
        told = call({"width": 90, "format": form, "quality": 50}, {"image": SAMPLES[sample]})
    picture = Image.open(io.BytesIO(told["thumbnail"].data))
    assert (picture.format, picture.size) == (form.upper(), (90, 60))
    assert told["thumbnail"].encoding == form
    assert told["thumbnail"].attributes["status"] == "3"


def test_facts_of_a_picture_are_true() -> None:
    picture = Image.new("RGB", (40, 20), "#ff0000")
    picture.paste("#0000ff", (0, 0, 10, 20))
    file = io.BytesIO()
    picture.save(file, "png")
    with LoaderFor(load(str(EXAMPLES / "image/wrapper.py"))()) as call:
        facts = call({}, {"image": file.getvalue()})["facts"].data.decode()
    assert '"width":40,"height":20,"mode":"RGB"' in facts
    assert '"colours":["#ff0000","#0000ff"' in facts, "the larger part first"


def test_speech_is_found_where_it_is() -> None:
    import json

    with LoaderFor(load(str(EXAMPLES / "audio/wrapper.py"))()) as call:
        told = json.loads(call({}, {"audio": SAMPLES["audio/sample.wav"]})["segments"].data)
    assert told["sample_rate"] == 8000
    assert told["duration_s"] == pytest.approx(4.08, abs=0.01)
    assert -30 < told["rms_db"] < -10
    first, second = told["speech"]
    assert first["start_s"] == pytest.approx(0.4, abs=0.1), "the sample opens with 0.4 s of silence"
    assert first["end_s"] < second["start_s"] < second["end_s"] < 3.8


@pytest.mark.parametrize(
    ("wrapper", "name", "data"),
    [
        ("image", "image", b"not a picture"),
        ("image", "image", SAMPLES["image/sample.jpg"][:900]),
        ("audio", "audio", b"RIFFxxxxWAVE"),
        ("audio", "audio", SAMPLES["audio/sample.wav"][:20]),
        ("audio", "audio", SAMPLES["audio/sample.wav"][:44]),
    ],
)
def test_bad_input_is_refused_not_raised(wrapper: str, name: str, data: bytes) -> None:
    with (
        LoaderFor(load(str(EXAMPLES / wrapper / "wrapper.py"))()) as call,
        pytest.raises(LoaderError) as caught,
    ):
        call({}, {name: data})
    assert caught.value.code == 10107


class Odd(Wrapper):
    """Returns what it is told to."""

    service = "odd"
    act = Choice("list", "text", "number", "none", "refuse", default="text")
    hint = Input("text", required=False)
    out = Output("text")

    def once(
        self, params: Mapping[str, Any], inputs: Mapping[str, Data], context: Context
    ) -> Outputs:
        if params["act"] == "refuse":
            raise Refused
        made: Any = {"list": [1], "text": "é", "number": 5, "none": None}[params["act"]]
        return None if made is None else {"out": made}  # type: ignore[return-value]


def test_outputs_may_have_several_forms() -> None:
    with LoaderFor(Odd()) as call:
        assert call()["out"].data == "é".encode()
        assert call({"act": "list"})["out"].data == b"[1]"


@pytest.mark.parametrize(("act", "code"), [("number", 10106), ("none", 10106), ("refuse", 10107)])
def test_outputs_of_no_form_are_10106(act: str, code: int) -> None:
    with LoaderFor(Odd()) as call, pytest.raises(LoaderError) as caught:
        call({"act": act})
    assert caught.value.code == code
    assert caught.value.message


@pytest.mark.parametrize(
    ("params", "inputs", "words"),
    [
        ({}, {}, "$.payload.image: is required"),
        ({"width": "wide"}, {"image": b"x"}, "$.parameter.image.width: must be of type integer"),
        ({"width": 5000}, {"image": b"x"}, "$.parameter.image.width: breaks maximum 4096"),
        ({"wdth": 5}, {"image": b"x"}, "$.parameter.image.wdth: is not known here"),
        ({}, {"image": b""}, "$.payload.image.image: breaks minLength 1"),
        ({}, {"imge": b"x"}, "$.payload.imge: is not known here"),
        ({}, {"image": Data(b"x", {"encoding": "bmp"})}, "encoding: must be one of png, jpg, jpeg"),
        ({}, {"image": b"x" * (10 * 2**20 + 1)}, "must decode to at most 10485760 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_gateway_would_refuse_is_refused_here(
    params: dict[str, Any], inputs: dict[str, Any], words: str
) -> None:
    with (
        LoaderFor(load(str(EXAMPLES / "image/wrapper.py"))()) as call,
        pytest.raises(LoaderError) as caught,
    ):
        call(params, inputs)
    assert caught.value.code == 10163
    assert words in caught.value.message


SPEECH = (EXAMPLES / "vad/sample.wav").read_bytes()[44:]


def spoken(pieces: int) -> Iterator[dict[str, bytes]]:
    size = len(SPEECH) // pieces // 2 * 2 + 2
    for at in range(0, len(SPEECH), size):
        yield {"audio": SPEECH[at : at + size]}


def test_a_session_is_called_frame_by_frame() -> None:
    with LoaderFor(load(str(EXAMPLES / "vad/wrapper.py"))()) as call:
        told = [result["segment"].data for result in call.session({}, spoken(40))]
        assert [b"began" in segment for segment in told] == [True, False, True, False]
        frames = spoken(4)
        first = next(call.session(None, frames))
        assert b'"began"' in first["segment"].data
        assert len(list(frames)) == 3, "a frame is taken when the wrapper asks for one"


@pytest.mark.parametrize(
    ("params", "frames", "code", "words"),
    [
        ({}, [{"audio": b"xyz"}], 10107, "two bytes each"),
        ({"pause": 1}, [{"audio": b""}], 10163, "$.parameter.vad.pause: breaks minimum 20"),
        ({}, [{"audio": b""}, {"adio": b"x"}], 10163, "$.payload.adio: is not known here"),
    ],
)
def test_a_session_that_fails(
    params: dict[str, Any], frames: list[dict[str, bytes]], code: int, words: str
) -> None:
    with (
        LoaderFor(load(str(EXAMPLES / "vad/wrapper.py"))()) as call,
        pytest.raises(LoaderError) as caught,
    ):
        list(call.session(params, frames))
    assert caught.value.code == code
    assert words in caught.value.message


def test_one_session_after_another() -> None:
    """Each has the one licence, however the one before it ended."""

    class Counter(Wrapper):
        service = "counter"
        fail = Choice("no", "yes", default="no")
        text = Input("text")
        said = Output("text")

        def session(self, params, inputs):  # type: ignore[no-untyped-def]
            for told in inputs:
                if params["fail"] == "yes":
                    raise ValueError
                yield {"said": told["text"].data}

    with LoaderFor(Counter()) as call:
        for _ in range(20):
            assert len(list(call.session({}, [{"text": b"a"}]))) == 1
            next(call.session({}, [{"text": b"a"}, {"text": b"b"}]))
            with pytest.raises(LoaderError, match="10908"):
                list(call.session({"fail": "yes"}, [{"text": b"a"}]))
            with pytest.raises(LoaderError, match="10163"):
                list(call.session({}, [{"text": b"a"}, {"texx": b"b"}]))
        left = call.session({}, [{"text": b"a"}])
        next(left)
        with pytest.raises(LoaderError, match="10110"):
            next(call.session({}, [{"text": b"a"}]))
    assert list(left) == []


def test_a_session_in_a_thread_is_let_go() -> None:
    class Counter(Wrapper):
        service = "counter"
        text = Input("text")
        said = Output("text")
        over = 0

        def session(self, params, inputs):  # type: ignore[no-untyped-def]
            try:
                for told in inputs:
                    yield {"said": told["text"].data * 2}
            finally:
                self.over += 1

    wrapper = Counter()
    with LoaderFor(wrapper) as call:
        told = list(call.session({}, [{"text": b"a"}, {"text": b"b"}]))
        assert [result["said"].data for result in told] == [b"aa", b"bb"]
        assert wrapper.over == 1


def test_a_class_is_found_by_name_or_alone() -> None:
    probe = "tests/wrappers/probe.py"
    assert load(f"{probe}:Slow").service == "slow"
    assert load(str(EXAMPLES / "image/wrapper.py")).service == "image"
    for spec, words in (
        (probe, "there is: Probe, Idempotent, Slow, Broken"),
        (f"{probe}:Nobody", "no such Wrapper"),
        ("nowhere.py:X", "no such file"),
    ):
        with pytest.raises(LoadError, match=words):
            load(spec)
