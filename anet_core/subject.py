"""What a network has learnt to see, by the name of the data set that it was trained on."""

from data_prep import dagm, magnetic_tile, neu


def published(dataset: str) -> str:
    """The data set that a variant, split at random or with proposed masks, has its pictures from; else its own name. Also behind "iou/"."""
    return dataset.removesuffix(neu.RANDOM).removesuffix(neu.PROPOSED)


def defects(dataset: str) -> str:
    """What a network trained on a data set marks."""
    name = published(dataset)
    if name in neu.PREFIXES:
        return f"defects of the class {name.removeprefix('neu-')} on hot-rolled steel strip"
    if name == magnetic_tile.NAME:
        return f"{', '.join(magnetic_tile.KINDS).lower()} on magnetic tiles"
    if name in dagm.CLASSES:
        return "defects on a texture that a program made"
    return f"what the masks of {dataset} mark"


def side(dataset: str) -> int | None:
    """Side of the square pictures in pixels; None where the data set is not a published one."""
    steel, textures = dict.fromkeys(neu.PREFIXES, neu.SIZE), dict.fromkeys(dagm.CLASSES, dagm.SIZE)
    return (steel | textures | {magnetic_tile.NAME: magnetic_tile.SIZE}).get(published(dataset))
