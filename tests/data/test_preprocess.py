"""Preprocessing: text forms, what each step does, and OpenCV's resize."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nntc.core.errors import UserError
from nntc.data import CorruptSampleError, Preprocess, from_cali_text, from_transform_ops
from nntc.data import steps as s
from nntc.data.decode import decode_picture
from nntc.data.preprocess import EXAMPLE
from nntc.data.resize import cv2_bilinear, resize
from tests.data.samples import pixels, refused


def png(array: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).save(out, "PNG", **options)
    return out.getvalue()


def test_the_documented_form() -> None:
    found = Preprocess.parse(EXAMPLE)
    assert found.steps == (
        s.Resize(256),
        s.Crop(224, 224),
        s.Mean((123.7, 116.3, 103.5)),
        s.Scale((0.017,)),
    )
    assert (found.order, found.layout, found.interpolation) == ("rgb", "nchw", "bilinear")
    assert Preprocess.parse(" Resize = 256 ,\n crop=224,") == Preprocess.parse(
        "resize=256,crop=224"
    )


def test_the_examples_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text("utf-8")
    table = page.split("| trained with | write |")[1].split("\n\n")[0]
    examples = [line.split("`")[1] for line in table.splitlines() if "`" in line]
    assert len(examples) == 5
    for example in examples:
        treatment = Preprocess.parse(example)
        assert treatment.apply(pixels(0, 300, 400)).ndim == 4
        assert treatment.geometry
    (json_text,) = [part for part in page.split("`") if part.startswith("{")]
    assert set(json.loads(json_text)) == {"resize", "crop", "mean", "order"}


_values = st.floats(width=32, allow_nan=False, allow_infinity=False)
_several = st.one_of(st.tuples(_values), st.tuples(_values, _values, _values))
_side = st.integers(1, s.MAX_SIDE)
_geometry = st.one_of(
    st.builds(s.Resize, _side),
    st.builds(s.Resize, _side, _side),
    st.builds(s.Letterbox, _side, _side, st.floats(0, 255), st.booleans()),
    st.builds(s.Crop, _side, _side),
    st.just(s.Crop()),
    st.builds(s.Crop, share=st.floats(0.01, 0.99)),
)
_arithmetic = st.one_of(
    st.builds(s.Mean, _several),
    st.builds(s.Scale, _several),
    st.builds(s.Div, _several.filter(all)),
)


@given(
    st.lists(_geometry, max_size=3),
    st.lists(_arithmetic, max_size=3),
    st.sampled_from(["", "rgb", "bgr"]),
    st.sampled_from(["nchw", "nhwc"]),
    st.sampled_from(["bilinear", "cv2", "box"]),
    st.sampled_from(["ignore", "apply"]),
)
@settings(deadline=None)
def test_text_round_trip(geometry, arithmetic, order, layout, interpolation, exif) -> None:
    value = Preprocess((*geometry, *arithmetic), order, layout, interpolation, exif)
    assert Preprocess.parse(str(value)) == value


def test_every_fault_is_named() -> None:
    problems = refused(
        Preprocess.parse,
        "resize=0,crp=3,mean=1:2,order=xx,foo,div=0,mean=nan,crop=3,letterbox=3x4:300,"
        "crop=1.5,layout=nchw,layout=nhwc,scale=1e40,resize=3x,elephant=1",
    )
    text = "\n".join(problems)
    for part in (
        "'foo' is no key=value",
        "resize=0: '0' is no size in pixels from 1 to 16384",
        "unknown key 'crp'; did you mean crop?",
        "mean=1:2: 2 numbers",
        "order=xx: choose from rgb, bgr, gray",
        "div=0: division by zero",
        "mean=nan: 'nan' is no number",
        "fill 300 is no pixel value",
        "crop=1.5: '1.5' is no share",
        "layout is given twice: nchw and nhwc",
        "scale=1e40: '1e40' is no number",
        "resize=3x: '' is no size",
        "unknown key 'elephant'; known: resize, letterbox",
    ):
        assert part in text
    assert "stands after mean=1; sizes come first" in refused(Preprocess.parse, "mean=1,crop=3")[0]
    assert "order=gray has 1 channel" in refused(Preprocess.parse, "mean=1:2:3,order=gray")[0]
    assert EXAMPLE in refused(Preprocess.parse, " ")[0]


@given(st.text(max_size=40))
@settings(deadline=None)
def test_any_text_parses_or_is_refused(text: str) -> None:
    with contextlib.suppress(UserError):
        value = Preprocess.parse(text)
        assert Preprocess.parse(str(value)) == value


def test_files(tmp_path) -> None:
    text = "resize=256,crop=224x200,div=255,mean=0.5:0.25:0.125,div=0.25,order=bgr,layout=nhwc"
    wanted = Preprocess.parse(text)
    path = tmp_path / "p.json"
    path.write_text(
        '{"resize": 256, "crop": [224, 200], "div": 255, "mean": [0.5, 0.25, 0.125], "div": 0.25,'
        ' "order": "bgr", "layout": "nhwc"}'
    )
    assert Preprocess.parse_file(path) == wanted
    assert Preprocess.of(str(path)) == wanted
    path.write_text(json.dumps([{"resize": 256}, {"crop": "224x200"}, {"div": 255}]))
    assert Preprocess.parse_file(path) == Preprocess.parse("resize=256,crop=224x200,div=255")
    path.write_text(text.replace(",", "\n"))
    assert Preprocess.of(path) == wanted
    path.write_text('{"resize": {"a": 1}, "crop": null}')
    assert len(refused(Preprocess.parse_file, path)) == 2
    path.write_text('{"resize": ')
    assert "damaged JSON" in refused(Preprocess.parse_file, path)[0]
    path.write_text("[3]")
    assert "is no object" in refused(Preprocess.parse_file, path)[0]
    path.write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8" in refused(Preprocess.parse_file, path)[0]
    assert "cannot be read" in refused(Preprocess.of, str(tmp_path / "none.json"))[0]


def test_arithmetic_layout_and_order() -> None:
    array = pixels(3, 6, 7)
    data = png(array)
    wanted = ((array.astype(np.float32) - np.float32([1, 2, 3])) * np.float32(0.5)).transpose(
        2, 0, 1
    )
    got = Preprocess.parse("mean=1:2:3,scale=0.5").picture(data)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, wanted[None])
    swapped = Preprocess.parse("mean=3:2:1,scale=0.5,order=bgr").picture(data)
    np.testing.assert_array_equal(swapped, wanted[None, ::-1])
    nhwc = Preprocess.parse("mean=1:2:3,scale=0.5,layout=nhwc").picture(data)
    np.testing.assert_array_equal(nhwc, wanted.transpose(1, 2, 0)[None])
    # In the order given: PyTorch's ToTensor and Normalize.
    steps = Preprocess.parse("div=255,mean=0.5,div=0.25").picture(data)
    raw = array.transpose(2, 0, 1)[None].astype(np.float32)
    np.testing.assert_array_equal(
        steps, (raw / np.float32(255) - np.float32(0.5)) / np.float32(0.25)
    )


def test_gray() -> None:
    array = pixels(3, 6, 7)
    got = Preprocess.parse("order=gray").picture(png(array))
    assert got.shape == (1, 1, 6, 7)
    np.testing.assert_allclose(got[0, 0], array @ [0.299, 0.587, 0.114], atol=1)
    np.testing.assert_array_equal(
        Preprocess.parse("resize=3x4,order=gray").picture(png(array[:, :, :1])).shape, (1, 1, 3, 4)
    )


@pytest.mark.parametrize(
    ("text", "size", "wanted"),
    [
        ("resize=16", (32, 65), (16, 32)),
        ("resize=16", (65, 32), (32, 16)),
        ("resize=16", (7, 7), (16, 16)),
        ("resize=16x5", (32, 65), (16, 5)),
        ("crop=10", (32, 65), (10, 10)),
        ("crop=square", (32, 65), (32, 32)),
        ("crop=square,crop=0.5", (32, 65), (16, 16)),
        ("letterbox=20x30:9", (40, 10), (20, 30)),
    ],
)
def test_sizes(text: str, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert Preprocess.parse(text).apply(pixels(0, *size)).shape == (1, 3, *wanted)


def test_crop_is_the_middle() -> None:
    array = pixels(0, 9, 8)
    got = Preprocess.parse("crop=4x4,layout=nhwc").apply(array)[0]
    np.testing.assert_array_equal(got, array[2:6, 2:6])
    problem = refused(Preprocess.parse("crop=4x10").apply, array)[0]
    assert problem == "crop=4x10 does not fit in 9x8 (height x width)"


def test_letterbox() -> None:
    array = pixels(0, 10, 20)
    got = Preprocess.parse("letterbox=16x10:7,layout=nhwc").apply(array)[0]
    inner = resize(array, 5, 10, "bilinear")
    np.testing.assert_array_equal(got[5:10], inner)
    assert (got[:5] == 7).all()
    assert (got[10:] == 7).all()
    corner = Preprocess.parse("letterbox=16x10:7:topleft,layout=nhwc").apply(array)[0]
    np.testing.assert_array_equal(corner[:5], inner)
    assert (corner[5:] == 7).all()


def test_what_can_never_fit() -> None:
    def problems(text: str, shape: tuple[int, ...]) -> list[str]:
        return Preprocess.parse(text).problems("x", shape)

    assert problems("resize=256,crop=224", (1, 3, 224, 224)) == []
    assert problems("resize=224", (1, 3, 224, 224)) == []
    assert problems("crop=square", (1, 3, 224, 224)) == []
    assert problems("letterbox=32x64,layout=nhwc", (1, 32, 64, 3)) == []
    assert "which gives 200x200" in problems("resize=256,crop=200", (1, 3, 224, 224))[0]
    assert "makes that 224 channels" in problems("crop=224", (1, 224, 224, 3))[0]
    assert "order=gray gives 1" in problems("crop=224,order=gray", (1, 3, 224, 224))[0]
    assert "needs 4 dimensions" in problems("crop=224", (1, 3, 224))[0]
    assert len(problems("crop=2,order=gray", (1, 3, 224, 224))) == 2


def test_pillow_filters_and_floats() -> None:
    array = pixels(5, 40, 50)
    wanted = Image.fromarray(array).resize((20, 10), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resize(array, 10, 20, "bicubic"), np.asarray(wanted))
    for name in ("bilinear", "bicubic", "lanczos", "box", "cv2"):
        floats = resize(array.astype(np.float32), 10, 20, name)
        assert floats.dtype == np.float32
        assert np.abs(np.clip(floats, 0, 255) - resize(array, 10, 20, name)).max() <= 1.01
    assert resize(array[:, :, :1], 10, 20, "bilinear").shape == (10, 20, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_cv2_resize_is_opencvs(kind: type) -> None:
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(1)
    worst, wrong, total = 0.0, 0, 0
    for case in range(60):
        height, width, *target = (int(v) for v in rng.integers(2, 200, 4))
        channels = int(rng.choice([1, 3]))
        array = rng.integers(0, 256, (height, width, channels)).astype(kind)
        if case % 10 == 0:
            # Halving is a case of its own there.
            array = array[: height // 2 * 2, : width // 2 * 2]
            target = [height // 2, width // 2]
        found = cv2_bilinear(array, *target).astype(np.float64)
        wanted = cv2.resize(array, (target[1], target[0])).reshape(found.shape)
        off = np.abs(found - wanted)
        worst, wrong, total = max(worst, off.max()), wrong + (off > 0).sum(), total + off.size
    if kind is np.uint8:
        # OpenCV's own results differ by a bit between processors; most of them give these bytes.
        assert worst <= 1
        assert wrong <= 0.02 * total
    else:
        assert worst < 0.01


def test_a_long_thin_picture_is_refused() -> None:
    thin = np.zeros((1, 40_000, 3), np.uint8)
    assert "more than" in refused(Preprocess.parse("resize=16384").apply, thin)[0]


def test_decoding_modes() -> None:
    base = pixels(1, 5, 6)
    image = Image.fromarray(base)

    def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
        out = io.BytesIO()
        picture.save(out, kind, **options)
        return out.getvalue()

    np.testing.assert_array_equal(decode_picture(encoded(image)), base)
    np.testing.assert_array_equal(decode_picture(encoded(image), "bgr"), base[:, :, ::-1])
    transparent = image.convert("RGBA")
    transparent.putalpha(7)
    np.testing.assert_array_equal(decode_picture(encoded(transparent)), base)
    gray = decode_picture(encoded(image.convert("L")))
    assert gray.shape == (5, 6, 3)
    assert (gray[:, :, 0] == gray[:, :, 2]).all()
    assert decode_picture(encoded(image.convert("P"), "GIF")).shape == (5, 6, 3)
    assert decode_picture(encoded(image.convert("CMYK"), "JPEG")).shape == (5, 6, 3)
    assert decode_picture(encoded(image.convert("1"))).max() <= 255
    deep = (base[:, :, 0].astype(np.uint16) << 8) + 3
    pgm = b"P5 6 5 65535\n" + deep.astype(">u2").tobytes()
    for data in (encoded(Image.fromarray(deep)), encoded(Image.fromarray(deep), "TIFF"), pgm):
        for exif in (False, True):
            sixteen = decode_picture(data, "gray", exif)
            np.testing.assert_array_equal(sixteen[:, :, 0], base[:, :, 0])
    with pytest.raises(CorruptSampleError, match="32-bit pixels"):
        decode_picture(encoded(Image.fromarray(base[:, :, 0].astype(np.float32)), "TIFF"))


def test_exif_orientation_is_ignored_unless_asked_for() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(1, 8, 16)).save(out, "PNG", exif=exif)
    assert decode_picture(out.getvalue()).shape == (8, 16, 3)
    assert Preprocess.parse("exif=apply").picture(out.getvalue()).shape == (1, 3, 16, 8)


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_damaged_pictures_are_only_corrupt() -> None:
    out = io.BytesIO()
    Image.fromarray(pixels(1, 40, 50)).save(out, "JPEG")
    sound = out.getvalue()
    with pytest.raises(CorruptSampleError, match="not a picture"):
        decode_picture(b"hello")
    with pytest.raises(CorruptSampleError, match="damaged picture"):
        decode_picture(sound[: len(sound) // 2])
    # An EPS would start a program.
    with pytest.raises(CorruptSampleError, match="not a picture"):
        decode_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")
    rng = np.random.default_rng(0)
    samples = [png(pixels(1)), sound]
    for kind in ("GIF", "TIFF", "BMP", "WEBP", "PPM"):
        made = io.BytesIO()
        Image.fromarray(pixels(2)).save(made, kind)
        samples.append(made.getvalue())
    for data in samples:
        for _ in range(30):
            broken = bytearray(data)
            for place in rng.integers(0, len(data), 4):
                broken[place] = rng.integers(256)
            with contextlib.suppress(CorruptSampleError):
                assert decode_picture(bytes(broken)).dtype == np.uint8


def test_bombs_are_refused_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nntc.data.decode.MAX_PIXELS", 500)
    with pytest.raises(CorruptSampleError, match="30x20 pixels; at most 500 are read"):
        decode_picture(png(pixels()))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(CorruptSampleError, match="more than 500 pixels"):
        decode_picture(png(pixels()))


def test_transform_ops() -> None:
    found = from_transform_ops(
        [
            {"op": "RESIZE", "resize_h": 256, "resize_w": 320},
            {"op": 1, "crop_h": 224, "crop_w": 224},
            {"op": "STAND", "mean_value": [103.5, 116.3, 123.7], "scale": 0.017, "bgr2rgb": True},
        ]
    )
    assert str(found) == (
        "resize=256x320,crop=224x224,mean=123.7:116.3:103.5,scale=0.017,order=rgb,layout=nchw,"
        "interpolation=cv2,exif=apply"
    )
    kept = from_transform_ops([{"op": "STAND", "mean_value": [1, 2, 3], "div": 2}])
    assert str(kept).startswith("mean=1:2:3,div=2,order=bgr")
    # The numbers are applied to the stored order, then the channels swap.
    array = pixels(0, 4, 4)
    ops = [{"op": "STAND", "mean_value": [1, 2, 3], "bgr2rgb": True}]
    got = from_transform_ops(ops).picture(png(array))[0]
    stored = array[:, :, ::-1].astype(np.float32) - np.float32([1, 2, 3])
    np.testing.assert_array_equal(got, stored[:, :, ::-1].transpose(2, 0, 1))
    assert from_transform_ops(ops, values_in_net_order=True).steps == (s.Mean((1, 2, 3)),)
    assert from_transform_ops([{"op": "RESIZE", "resize_side": 9}]).steps == (s.Resize(9),)
    assert from_transform_ops([{"op": "CROP", "crop_fraction": 0.5}]).steps == (s.Crop(share=0.5),)
    assert from_transform_ops([{"op": "STAND", "mean_value": 7}], gray=True).order == "gray"
    problems = refused(
        from_transform_ops,
        [{"op": "TURN"}, {"op": "RESIZE", "sise": 1}, {"op": "CROP", "padding": 3, "crop_h": 3}],
    )
    assert "unknown op TURN" in problems[0]
    assert "unknown field 'sise'" in problems[1]
    assert any("padding is not supported" in problem for problem in problems)


def test_auto_cali_text() -> None:
    found = from_cali_text(
        "\n resize_h=256, resize_w=256;\n mean_value=104:117:123, scale=0.014:0.015:0.016,"
        "bgr2rgb=True"
    )
    assert str(found).startswith(
        "resize=256x256,mean=123:117:104,scale=0.016:0.015:0.014,order=rgb,"
    )
    assert str(from_cali_text("resize_h=5,resize_w=6;scale=0.5;")).startswith(
        "resize=5x6,scale=0.5"
    )
    problems = refused(from_cali_text, "resize_h=5,scale=1;what;zoom=3")
    assert any("mixes steps" in problem for problem in problems)
    assert any("'what' is no key=value" in problem for problem in problems)
    assert any("unknown field 'zoom'" in problem for problem in problems)
    assert "it is empty" in refused(from_cali_text, ";")[0]
