"""Polygons, and rectangles, drawn by a person, from labelme's or COCO's JSON, become masks.

A corner is in pixels from the picture's top left corner, so the first pixel's centre is at (0.5, 0.5). A pixel is
defect where its centre is inside a polygon of any label; what lies outside the picture is cut off.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from data_prep import decode
from data_prep.own import NOTE

FAR = 1e6  # pixels: no corner is meant to be further from the picture, and NaN is not nearer
Drawing = tuple[str, tuple[int, int], list[np.ndarray]]  # picture's name, its width and height, corners (N, 2) of each polygon


def samples(
    source: Path, pictures: Path, white: int | None = None, unmasked_sound: bool = False,
) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Id, image and mask of each picture that was annotated, for ``format.write``.

    Args:
        source: one COCO file, or a folder of labelme's files, one a picture.
        pictures: the folder of the pictures.
        white: see ``decode.eight_bits``.
        unmasked_sound: the other pictures of the folder, too, as free of defects.

    Raises:
        FileNotFoundError: a file or picture is missing, or the folder holds no JSON.
        ValueError: a file is damaged, a picture has another size or was annotated twice, or an annotation is not a polygon
            that covers a pixel of its picture.
    """
    files = sorted(path for path in seen(source) if path.suffix.lower() == ".json" and path.name != NOTE) if source.is_dir() else [source]
    if not files:
        raise FileNotFoundError(f"{source} holds no JSON; give the folder of labelme's files, or one COCO file.")
    if unmasked_sound and (below := sorted(path for path in seen(pictures) if path.parent != pictures and path.suffix.lower() in decode.SUFFIXES)):
        raise ValueError(f"{below[0]} lies in a subfolder, which annotations do not name; put all pictures into {pictures}.")
    drawn: dict[str, str] = {}
    for path in files:
        for name, size, polygons in drawings(path):
            key = Path(name).stem
            if other := drawn.get(key.casefold()):
                raise ValueError(f"{path} annotates {name}, but {other} would have the same name in the data set; keep one.")
            drawn[key.casefold()] = name
            image = decode.eight_bits(decode.open_picture(pictures / name), pictures / name, white)
            if image.size != size:
                raise ValueError(
                    f"{path} says that {name} is {size[0]}x{size[1]}, but it is {image.width}x{image.height}; bring that picture."
                )
            yield key, image, Image.fromarray(np.uint8(255 * mask(polygons, image.size, f"{path}, {name}")))
    for path in sorted(pictures.iterdir()) if unmasked_sound else ():
        if path.suffix.lower() in decode.SUFFIXES and path.name[0] != "." and path.name not in drawn.values():
            if other := drawn.get(path.stem.casefold()):
                raise ValueError(f"{path} and {other} would have the same name in the data set; keep one.")
            drawn[path.stem.casefold()] = path.name
            image = decode.eight_bits(decode.open_picture(path), path, white)
            yield path.stem, image, Image.new("L", image.size)


def seen(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders, but for those whose name, or a subfolder's, begins with a dot."""
    return [path for path in folder.rglob("*") if path.is_file() and not any(part[0] == "." for part in path.relative_to(folder).parts)]


def mask(polygons: list[np.ndarray], size: tuple[int, int], where: str) -> np.ndarray:
    """Which pixels are inside any of the polygons, bool (height, width).

    Args:
        polygons: corners (x, y) of each, float (N, 2); one that crosses itself covers by the even-odd rule.
        size: width and height.
        where: begins the message of a ValueError, raised for a polygon that covers no pixel.
    """
    covered = np.zeros(size[::-1], bool)
    centres = np.arange(size[1]) + 0.5  # of the rows
    for corners in polygons:
        crossings = np.zeros((size[1], size[0] + 1), bool)  # where, in a row, the inside begins or ends
        for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
            rows = np.flatnonzero((y0 <= centres) != (y1 <= centres))
            columns = np.ceil(x0 + (centres[rows] - y0) * ((x1 - x0) / (y1 - y0)) - 0.5) if rows.size else rows
            crossings[rows, np.clip(columns, 0, size[0]).astype(int)] ^= True
        inside = np.logical_xor.accumulate(crossings, axis=1)[:, :-1]
        if not inside.any():
            first = tuple(corners[0].tolist())
            raise ValueError(f"{where}: the polygon from {first} covers no pixel of its picture; correct or remove it.")
        covered |= inside
    return covered


def drawings(path: Path) -> list[Drawing]:
    """What one JSON file annotates: labelme's one picture, or all of COCO's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; give one COCO file, or a folder of labelme's files.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); export it again.") from None
    try:
        return [labelme(content, path)] if "shapes" in content else coco(content, path)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path} is neither labelme's nor COCO's JSON ({reason}); export it as COCO with polygons.") from None


def labelme(content: dict, path: Path) -> Drawing:
    """The picture and polygons of a labelme file; no shape at all is a picture without a defect."""
    for shape in content["shapes"]:
        if shape.get("shape_type", "polygon") not in ("polygon", "rectangle"):
            raise ValueError(f"{path} holds a {shape['shape_type']}; draw polygons or rectangles.")
    size = content["imageWidth"], content["imageHeight"]
    return file_name(content["imagePath"]), size, [corners(outline(shape), path) for shape in content["shapes"]]


def outline(shape: dict) -> list:
    """The corners of a shape of labelme, which gives a rectangle by two opposite ones."""
    if shape.get("shape_type") != "rectangle" or len(shape["points"]) != 2:
        return shape["points"]
    (left, top), (right, bottom) = shape["points"]
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def coco(content: dict, path: Path) -> list[Drawing]:
    """The pictures and polygons of a COCO file; a picture without annotations is one without a defect."""
    found: dict[str, list[np.ndarray]] = {identity(image["id"]): [] for image in content["images"]}
    if len(found) < len(content["images"]):
        raise ValueError(f"{path} lists two pictures by one id; export it again.")
    for annotation in content["annotations"]:
        parts = annotation.get("segmentation")
        if not isinstance(parts, list) or not parts:
            raise ValueError(f"{path}: annotation {annotation['id']} has a run-length mask or none; export polygons.")
        if not isinstance(parts[0], list):  # VIA has one polygon to an annotation, and not a list of them
            parts = [parts]
        if (of := identity(annotation["image_id"])) not in found:
            raise ValueError(f"{path}: annotation {annotation['id']} is of a picture that is not listed; export it again.")
        found[of] += [corners([part[i : i + 2] for i in range(0, len(part), 2)], path) for part in parts]
    return [(file_name(image["file_name"]), (image["width"], image["height"]), found[identity(image["id"])]) for image in content["images"]]


def identity(given: int | float | str) -> str:
    """A picture's id, which VIA writes once as a number and once as text, and a table of numbers as 7.0."""
    return str(int(given)) if isinstance(given, float) and given.is_integer() else str(given)


def corners(points: list, path: Path) -> np.ndarray:
    """Corners (x, y) as float (N, 2), N 3 or more."""
    if len(points) < 3 or not all(len(point) == 2 and all(abs(value) < FAR for value in point) for point in points):
        raise ValueError(f"{path} has the polygon {str(points)[:60]}; give three corners or more, each two numbers of pixels.")
    return np.array(points, float)


def file_name(given: str) -> str:
    """The last part of a path, Windows' or not: annotations carry the folders of whoever drew them."""
    return PurePosixPath(given.replace("\\", "/")).name
