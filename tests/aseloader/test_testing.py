"""The helper for authors: the demo wrappers, called without ports, on their real samples."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aseloader import Choice, Context, Data, Input, Output, Outputs, Refused, Wrapper
from aseloader.loading import LoadError, load
from aseloader.testing import LoaderError, LoaderFor
from tests.wrappers.database import Database

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SAMPLES = {name: (EXAMPLES / name).read_bytes() for name in
           ("image/sample.jpg", "image/small.png", "audio/sample.wav")}  # fmt: skip


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("sample", ["image/sample.jpg", "image/small.png"])
def test_thumbnail_has_the_requested_size_and_format(sample: str, image_format: str) -> None:
    with LoaderFor(load(str(EXAMPLES / "image/wrapper.py"))()) as call:
        outputs = call(
            {"width": 90, "format": image_format, "quality": 50}, {"image": SAMPLES[sample]}
        )
    picture = Image.open(io.BytesIO(outputs["thumbnail"].data))
    assert (picture.format, picture.size) == (image_format.upper(), (90, 60))
    assert outputs["thumbnail"].encoding == image_format
    assert outputs["thumbnail"].attributes["status"] == "3"


def test_image_facts_are_correct() -> None:
    picture = Image.new("RGB", (40, 20), "#ff0000")
    picture.paste("#0000ff", (0, 0, 10, 20))
    file = io.BytesIO()
    picture.save(file, "png")
    with LoaderFor(load(str(EXAMPLES / "image/wrapper.py"))()) as call:
        facts_json = call({}, {"image": file.getvalue()})["facts"].data.decode()
    assert '"width":40,"height":20,"mode":"RGB"' in facts_json
    assert '"colours":["#ff0000","#0000ff"' in facts_json, "the larger part first"


def test_speech_is_detected_at_its_position() -> None:
    import json

    with LoaderFor(load(str(EXAMPLES / "audio/wrapper.py"))()) as call:
        result = json.loads(call({}, {"audio": SAMPLES["audio/sample.wav"]})["segments"].data)
    assert result["sample_rate"] == 8000
    assert result["duration_s"] == pytest.approx(4.08, abs=0.01)
    assert -30 < result["rms_db"] < -10
    first, second = result["speech"]
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
def test_bad_input_is_refused_with_10107(wrapper: str, name: str, data: bytes) -> None:
    with (
        LoaderFor(load(str(EXAMPLES / wrapper / "wrapper.py"))()) as call,
        pytest.raises(LoaderError) as caught,
    ):
        call({}, {name: data})
    assert caught.value.code == 10107


class ConfigurableOutput(Wrapper):
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
        value: Any = {"list": [1], "text": "é", "number": 5, "none": None}[params["act"]]
        return None if value is None else {"out": value}  # type: ignore[return-value]


def test_outputs_may_be_text_or_json() -> None:
    with LoaderFor(ConfigurableOutput()) as call:
        assert call()["out"].data == "é".encode()
        assert call({"act": "list"})["out"].data == b"[1]"


@pytest.mark.parametrize(("act", "code"), [("number", 10106), ("none", 10106), ("refuse", 10107)])
def test_invalid_outputs_are_errors(act: str, code: int) -> None:
    with LoaderFor(ConfigurableOutput()) as call, pytest.raises(LoaderError) as caught:
        call({"act": act})
    assert caught.value.code == code
    assert caught.value.message


@pytest.mark.parametrize(
    ("params", "inputs", "message"),
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
def test_requests_are_validated_as_by_the_gateway(
    params: dict[str, Any], inputs: dict[str, Any], message: str
) -> None:
    with (
        LoaderFor(load(str(EXAMPLES / "image/wrapper.py"))()) as call,
        pytest.raises(LoaderError) as caught,
    ):
        call(params, inputs)
    assert caught.value.code == 10163
    assert message in caught.value.message


SPEECH = (EXAMPLES / "vad/sample.wav").read_bytes()[44:]


def speech_frames(frame_count: int) -> Iterator[dict[str, bytes]]:
    size = len(SPEECH) // frame_count // 2 * 2 + 2
    for offset in range(0, len(SPEECH), size):
        yield {"audio": SPEECH[offset : offset + size]}


def test_session_takes_frames_one_by_one() -> None:
    with LoaderFor(load(str(EXAMPLES / "vad/wrapper.py"))()) as call:
        segments = [result["segment"].data for result in call.session({}, speech_frames(40))]
        assert [b"began" in segment for segment in segments] == [True, False, True, False]
        frames = speech_frames(4)
        first = next(call.session(None, frames))
        assert b'"began"' in first["segment"].data
        assert len(list(frames)) == 3, "a frame is taken when the wrapper asks for one"


@pytest.mark.parametrize(
    ("params", "frames", "code", "message"),
    [
        ({}, [{"audio": b"xyz"}], 10107, "two bytes each"),
        ({"pause": 1}, [{"audio": b""}], 10163, "$.parameter.vad.pause: breaks minimum 20"),
        ({}, [{"audio": b""}, {"adio": b"x"}], 10163, "$.payload.adio: is not known here"),
    ],
)
def test_failed_session_raises_loader_error(
    params: dict[str, Any], frames: list[dict[str, bytes]], code: int, message: str
) -> None:
    with (
        LoaderFor(load(str(EXAMPLES / "vad/wrapper.py"))()) as call,
        pytest.raises(LoaderError) as caught,
    ):
        list(call.session(params, frames))
    assert caught.value.code == code
    assert message in caught.value.message


def test_one_session_after_another() -> None:
    """Each has the one licence, however the one before it ended."""

    class Counter(Wrapper):
        service = "counter"
        fail = Choice("no", "yes", default="no")
        text = Input("text")
        said = Output("text")

        def session(self, params, inputs):  # type: ignore[no-untyped-def]
            for frame_inputs in inputs:
                if params["fail"] == "yes":
                    raise ValueError
                yield {"said": frame_inputs["text"].data}

    with LoaderFor(Counter()) as call:
        for _ in range(20):
            assert len(list(call.session({}, [{"text": b"a"}]))) == 1
            next(call.session({}, [{"text": b"a"}, {"text": b"b"}]))
            with pytest.raises(LoaderError, match="10908"):
                list(call.session({"fail": "yes"}, [{"text": b"a"}]))
            with pytest.raises(LoaderError, match="10163"):
                list(call.session({}, [{"text": b"a"}, {"texx": b"b"}]))
        open_session = call.session({}, [{"text": b"a"}])
        next(open_session)
        with pytest.raises(LoaderError, match="10110"):
            next(call.session({}, [{"text": b"a"}]))
    assert list(open_session) == []


def test_thread_session_is_released() -> None:
    class Counter(Wrapper):
        service = "counter"
        text = Input("text")
        said = Output("text")
        closed_count = 0

        def session(self, params, inputs):  # type: ignore[no-untyped-def]
            try:
                for frame_inputs in inputs:
                    yield {"said": frame_inputs["text"].data * 2}
            finally:
                self.closed_count += 1

    wrapper = Counter()
    with LoaderFor(wrapper) as call:
        results = list(call.session({}, [{"text": b"a"}, {"text": b"b"}]))
        assert [result["said"].data for result in results] == [b"aa", b"bb"]
        assert wrapper.closed_count == 1


def test_load_finds_a_class_by_name_or_the_only_one() -> None:
    probe = "tests/wrappers/probe.py"
    assert load(f"{probe}:Slow").service == "slow"
    assert load(str(EXAMPLES / "image/wrapper.py")).service == "image"
    for spec, message in (
        (probe, "there is: Probe, Idempotent, Slow, Broken"),
        (f"{probe}:Nobody", "no such Wrapper"),
        ("nowhere.py:X", "no such file"),
    ):
        with pytest.raises(LoadError, match=message):
            load(spec)


def test_all_methods_run_in_one_thread_if_one_request_runs_at_a_time() -> None:
    with LoaderFor(Database()) as call:
        assert call({}, {"text": b"a"})["count"].data == b"1"
        results = call.session({}, [{"text": b"b"}, {"text": b"c"}])
        assert [result["count"].data for result in results] == [b"2", b"3"]
        assert call({}, {"text": b"d"})["count"].data == b"4"
