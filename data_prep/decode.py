"""Reading picture and mask files, whatever is wrong with them being one sentence."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
WHITE = 65535  # what becomes 255 in a grey picture of 16 bits, unless another value is given
BITS, PHOTOMETRIC, PLANES = 258, 262, 284  # tags of TIFF, and two of their values
WHITE_IS_ZERO, APART = 0, 2
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS  # of a picture that Pillow decodes
DARK = 2**14  # pictures that use at most 14 of 16 bits stay below it


def open_picture(path: Path) -> Image.Image:
    """A decoded picture, turned as its EXIF orientation says; one bit a pixel becomes 0 and 255.

    Its ``info`` says whether it was "deep": of colour with 16 bits, of which Pillow reads the upper 8.

    Raises:
        FileNotFoundError, ValueError: one sentence that names the file. A picture of more pixels than
            MOST_PIXELS is refused by what its head claims, before any memory is taken. Pillow's
            warnings are passed over: it says more than one sentence of what it refuses, too.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is a folder or a device")  # a pipe would be waited for without end
        # As an open file: by its name, Pillow 13 maps an uncompressed TIFF into memory and garbles it where it is turned.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"), Image.open(file, formats=FORMATS) as image:
            if image.format == "TIFF" and image.n_frames > 1:
                raise ValueError(f"it holds {image.n_frames} pictures")
            if image.format == "TIFF" and 16 in image.tag_v2.get(BITS, ()) and (image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO or image.tag_v2.get(PLANES) == APART):
                raise ValueError("its 16 bits are stored with white as 0, or one colour behind the other, which Pillow misreads; save it as plain grey or RGB")
            deep = image.format in ("PNG", "TIFF") and image.mode in ("RGB", "RGBA") and ";16" in str(image.tile)
            upright = ImageOps.exif_transpose(image)
            upright.info["deep"] = deep
            return upright.convert("L") if upright.mode == "1" else upright
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; put it there, or take it out of what names it.") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path} has more than {MOST_PIXELS:,} pixels; cut it into parts.") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as a picture (not {', '.join(FORMATS)}, or damaged); replace the file.") from None
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise ValueError(f"{path} cannot be read as a picture ({' '.join(str(error).split())}); replace the file.") from None


def eight_bits(image: Image.Image, path: Path, white: int | None = None) -> Image.Image:
    """A decoded picture with 8 bits a channel, "L" or "RGB".

    Grey of 16 bits is scaled linearly, 0 to 0 and white to 255, the same for every picture; of deep colour the upper 8 bits are taken.

    Args:
        white: None for WHITE, but then no picture of 16 bits that stays below DARK: a camera of fewer bits made that.

    Raises:
        ValueError: such a picture, deep colour with another white, white outside of 1 to WHITE, pixels of another kind, values above white, or transparent pixels,
            which have no colour.
    """
    scale = WHITE if white is None else white
    if not 0 < scale <= WHITE:
        raise ValueError(f"white is {white}; give the value of white in 16-bit grey pictures, from 1 to {WHITE}.")
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        if values.max() > scale:
            raise ValueError(f"{path} holds the value {values.max()}, above white, which is {scale}; give a larger white.")
        scaled = ((values * 255 + scale // 2) // scale).astype(np.uint8)
        if white is None and values.max() < DARK:
            raise ValueError(
                f"{path} has 16 bits and no brighter pixel than {scaled.max()} of 255; give white, 4095 for a camera of 12 bits, or {WHITE} "
                'to take it as it is; a data set is made of such pictures by "python -m data_prep own".'
            )
        return Image.fromarray(scaled)
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"):
        raise ValueError(f"{path} has {image.mode} pixels; save it with 8 or 16 bits a channel, grey or RGB.")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise ValueError(f"{path} has transparent pixels; fill them and save it without transparency.")
    if image.info.get("deep") and white != WHITE and (white or np.asarray(image.convert("RGB")).max() < DARK >> 8):
        raise ValueError(f"{path} has colour of 16 bits that a camera of fewer may have made, and white is for grey alone; save it with 8 bits a channel, or give white {WHITE} to take it as it is.")
    return image.convert("L" if image.mode == "L" else "RGB")


def require_mask(mask: Image.Image, image: Image.Image, path: Path) -> None:
    """Raise ValueError unless a mask is one channel of 0 and 255 and as large as its image."""
    if mask.size != image.size:
        raise ValueError(f"{path} is {mask.width}x{mask.height} but its image is {image.width}x{image.height}; make them one size.")
    if len(mask.getbands()) > 1:
        raise ValueError(f"{path} is a colour picture; save the mask as one grey channel of 0 and 255.")
    if others := set(np.unique(np.asarray(mask)).tolist()) - {0, 255}:
        raise ValueError(f"{path} holds the value {min(others)}; a mask is 0 (sound) or 255 (defect) everywhere.")
