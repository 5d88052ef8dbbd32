"""Making data sets: folders with images/*.png, masks/*.png (0/255) and manifest.csv."""

from data_prep.catalogue import locate, make

__all__ = ["locate", "make"]
