"""Damaged, hostile and unusual pictures: read correctly, or refused in one sentence that names the file."""

import io
import os
import resource
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from anet_core.dataset import read_image
from data_prep import decode, format, own

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30)).astype(np.uint8)
COLOUR = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
MASK = np.where(RNG.random((20, 30)) < 0.3, 255, 0).astype(np.uint8)

pytestmark = pytest.mark.filterwarnings("error")  # one sentence, and no warning before it
few = settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def encoded(array: np.ndarray, name: str, mode: str | None = None, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).convert(mode).save(file, name, **options)
    return file.getvalue()


FILES = {
    "grey.png": encoded(GREY, "PNG"),
    "colour.png": encoded(COLOUR, "PNG"),
    "palette.png": encoded(GREY, "PNG", "P"),
    "deep.png": encoded(DEEP, "PNG"),
    "colour.jpg": encoded(COLOUR, "JPEG"),
    "cmyk.jpg": encoded(COLOUR, "JPEG", "CMYK"),
    "colour.bmp": encoded(COLOUR, "BMP"),
    "grey.tif": encoded(GREY, "TIFF"),
    "deep.tif": encoded(DEEP, "TIFF"),
    "lzw.tif": encoded(COLOUR, "TIFF", compression="tiff_lzw"),
}


def read_mask(path) -> np.ndarray:
    """As ``format.read_pair`` takes it."""
    mask = decode.open_picture(path)
    decode.require_mask(mask, mask, path)
    return np.asarray(mask) == 255


def read(path, data: bytes, reader=read_image) -> np.ndarray | None:
    """What a reader makes of these bytes: an array, or None after one sentence that names the file."""
    path.write_bytes(data)
    try:
        return reader(path)
    except ValueError as error:
        assert str(path) in str(error) and "\n" not in str(error) and str(error).endswith(".")
        return None


@few
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_cut_anywhere(name, data, tmp_path):
    """A file cut short is refused, or, where only what follows the pixels is lost, read whole."""
    whole = read(tmp_path / name, FILES[name])
    cut = read(tmp_path / name, FILES[name][: data.draw(st.integers(0, len(FILES[name]) - 1))])
    assert cut is None or np.array_equal(cut, whole)


@few
@given(data=st.data())
@pytest.mark.parametrize("name", FILES)
def test_changed_bytes(name, data, tmp_path):
    changed = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the changes go to the head, where sizes and offsets are.
        last = data.draw(st.sampled_from((60, len(changed)))) - 1
        changed[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
    picture, mask, values = (read(tmp_path / name, bytes(changed), reader) for reader in (read_image, read_mask, own.mask_values))
    assert picture is None or (picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3)
    assert mask is None or (mask.dtype == bool and mask.ndim == 2)
    assert values is None or values.ndim == 2


@few
@given(tail=st.binary(max_size=200), head=st.sampled_from((b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*")))
def test_any_bytes_are_refused(tail, head, tmp_path):
    assert read(tmp_path / "any.png", head + tail) is None


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A grey PNG that claims a size and holds a hundred bytes of pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 100)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", len(entries)) + table + bytes(4)


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IIIIiiHHIIiiII", 154, 0, 54, 40, width, height, 1, 24, 0, 100, 0, 0, 0, 0) + bytes(100)


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(FILES["colour.jpg"])
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("claim", [png, tiff, bmp, jpeg])
def test_a_picture_that_claims_to_be_huge_is_refused_by_its_head(claim, tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(claim(60_000, 60_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for reader in (read_image, read_mask, own.mask_values):
        with pytest.raises(ValueError, match=r"huge.png has more than 178,956,970 pixels; cut it into parts\."):
            reader(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB; the pixels would take 3.6 million


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a picture .it is a folder or a device"):
            decode.open_picture(tmp_path / name)


def test_text_that_unpacks_to_more_than_the_picture_is_refused(tmp_path):
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000)))
    assert read(tmp_path / "text.png", png(10, 10, bomb)) is None


@pytest.mark.parametrize("size", [(0, 10), (10, 0)])
def test_pictures_without_pixels_are_refused(size, tmp_path):
    for claim in (png, tiff, bmp, jpeg):
        assert read(tmp_path / "none.png", claim(*size)) is None


@pytest.mark.parametrize("name", ["grey.gif", "grey.webp", "grey.eps", "grey.ppm"])
def test_other_formats_are_refused_under_any_name(name, tmp_path):
    Image.fromarray(GREY).save(tmp_path / name)
    assert read(tmp_path / "other.png", (tmp_path / name).read_bytes()) is None


def test_a_tiff_of_several_pictures_is_refused(tmp_path):
    page = Image.fromarray(GREY)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page, page])
    with pytest.raises(ValueError, match=r"pages.tif .*holds 3 pictures"):
        read_image(tmp_path / "pages.tif")


TURNED = {  # EXIF orientation: how to turn what is stored so that it stands upright (EXIF 2.3, 4.6.4)
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("ending, options", [("png", {}), ("jpg", {}), ("tif", {}), ("tif", {"compression": "tiff_lzw"})])
def test_exif_orientation(ending, options, orientation, tmp_path):
    plain, turned = tmp_path / f"plain.{ending}", tmp_path / f"turned.{ending}"
    exif = Image.Exif()
    exif[274] = orientation
    options_turned = options | ({"tiffinfo": {274: orientation}} if ending == "tif" else {"exif": exif})
    for array in (GREY, COLOUR) if ending == "jpg" else (GREY, COLOUR, DEEP):
        Image.fromarray(array).save(plain, **options)
        Image.fromarray(array).save(turned, **options_turned)
        assert np.array_equal(read_image(turned), TURNED[orientation](read_image(plain)))


def test_every_mode_is_read_as_what_it_shows(tmp_path):
    """The same picture in every mode that can hold it without loss."""
    shown = np.where(MASK[..., None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    picture = Image.fromarray(shown)
    for mode in ("RGB", "RGBA", "P", "CMYK"):
        picture.convert(mode).save(tmp_path / "colour.tif")
        assert np.array_equal(read_image(tmp_path / "colour.tif"), shown), mode
    for mode in ("1", "L", "LA", "P", "RGB", "I;16"):
        deep = Image.fromarray(MASK.astype(np.uint16) * 257)
        (deep if mode == "I;16" else Image.fromarray(MASK).convert(mode)).save(tmp_path / "grey.png")
        assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(MASK[..., None], 3, axis=2)), mode


def test_sixteen_bits_are_one_linear_scale(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png")[..., 0], np.round(DEEP / 257))
    Image.fromarray(DEEP // 16).save(tmp_path / "deep.tif")
    assert np.array_equal(read_image(tmp_path / "deep.tif", 4095)[..., 0], np.round(DEEP // 16 / 4095 * 255))
    with pytest.raises(ValueError, match=f"deep.png holds the value {DEEP.max()}, above white, which is 4095"):
        read_image(tmp_path / "deep.png", 4095)
    for white in (-1, 0, 65536, 655360, 10**10):
        with pytest.raises(ValueError, match=f"white is {white}; give .* from 1 to 65535"):
            read_image(tmp_path / "deep.png", white)


@pytest.mark.parametrize("picture, said", [
    (Image.new("F", (5, 5)), "F pixels"), (Image.new("I", (5, 5)), "I pixels"), (Image.new("LAB", (5, 5)), "LAB pixels"),
    (Image.new("RGBA", (5, 5), (1, 2, 3, 254)), "transparent pixels"),
], ids=lambda value: getattr(value, "mode", ""))
def test_what_has_no_meaning_in_eight_bits_is_refused(picture, said, tmp_path):
    picture.save(tmp_path / "odd.tif")
    with pytest.raises(ValueError, match=f"odd.tif has {said}"):
        read_image(tmp_path / "odd.tif")


def test_index_refuses_a_picture_that_load_would(squares):
    Image.new("RGBA", (64, 64)).save(squares / "images" / "square 0.png")
    with pytest.raises(ValueError, match="square 0.png has transparent pixels"):
        format.index(squares, test=2)
