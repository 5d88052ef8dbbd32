"""Where the published data sets come from: one table, which ``fetch`` reads and the book's data pages print.

None of the addresses could be tried where this table was written. They were read in public documentation and code, and
no archive's sha256 is known: ``fetch`` prints the one that it got. What is known is the content: the sha256 over the
pictures and labels from which this repository's results were computed.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A published data set.

    Args:
        folder: what the makers look for under ANET_DATA.
        page: the owner's.
        licence: as stated by the owner.
        citation: what the owner asks to cite, or the paper that published it.
        bring: the file to download by hand where the program cannot.
        mirrors: tried in turn; each is the addresses of all archives of the set.
        files: patterns of the pictures and labels, relative to the folder.
        content_sha256: ``fetch.content_sha256`` of those files; None where no copy was at hand.
    """

    folder: str
    page: str
    licence: str
    citation: str
    bring: str
    mirrors: tuple[tuple[str, ...], ...]
    files: tuple[str, ...]
    content_sha256: str | None

    def markdown(self) -> str:
        """Where the set is, its licence, what to cite and its hash, as an item of a list."""
        return (
            f"- **{self.folder}**: <{self.page}>; licence: {self.licence}; cite: {self.citation}; sha256 of its files "
            f"`{self.content_sha256 or 'not known'}`"
        )


SOURCES = {
    "sd-saliency-900": Source(
        folder="SD-saliency-900",
        page="https://github.com/SongGuorong/MCITF",
        licence="none stated; research data",
        citation="G. Song, K. Song and Y. Yan, Saliency detection for strip steel surface defects using multiple constraints "
        "and improved texture features, Optics and Lasers in Engineering, 2020",
        bring="MCITF-master.zip (Code, Download ZIP)",
        mirrors=(("https://github.com/SongGuorong/MCITF/archive/refs/heads/master.zip",),),
        files=("Source Images/*.bmp", "Ground truth/*.png"),
        content_sha256="60731e1cc600652fd1ff056c5dcc787fe25851be6173389af63d81c8378881a3",
    ),
    "neu-det": Source(
        folder="NEU-DET",
        page="https://faculty.neu.edu.cn/songkc/en/zdylm/263270/list/index.htm",
        licence="none stated; research data",
        citation="K. Song and Y. Yan, A noise robust method based on completed local binary patterns for hot-rolled steel strip "
        "surface defects, Applied Surface Science, 2013",
        bring="NEU-DET.zip",
        mirrors=(("https://drive.usercontent.google.com/download?id=1qrdZlaDi272eA79b0uCwwqPrm2Q_WI3k&export=download&confirm=t",),),
        files=("IMAGES/*.jpg", "ANNOTATIONS/*.xml"),
        content_sha256="24b2f16bcb311c819d8cceaf1ef8c5f55c0a6eb8b74ff1bf76af64ddf16d4a46",
    ),
    "magnetic-tile": Source(
        folder="Magnetic-Tile-Defect",
        page="https://github.com/abin24/Magnetic-tile-defect-datasets.",
        licence='none stated; "It is welcomed to use our dataset. And if it is used in your research, please cite our paper."',
        citation="Y. Huang, C. Qiu and K. Yuan, Surface defect saliency of magnetic tile, The Visual Computer, 2020",
        bring="Magnetic-tile-defect-datasets.-master.zip (Code, Download ZIP)",
        mirrors=(
            ("https://github.com/abin24/Magnetic-tile-defect-datasets./archive/refs/heads/master.zip",),
            ("https://github.com/Charmve/Surface-Defect-Detection/archive/refs/heads/master.zip",),
        ),
        files=("MT_*/Imgs/*.jpg", "MT_*/Imgs/*.png"),
        content_sha256="d2601c3c228c0b4d340c8dae4216c25798bf4ff6339d1fe13fbfb23ad1667a25",
    ),
    "dagm": Source(
        folder="DAGM2007",
        page="https://zenodo.org/records/8086136",
        licence="CC BY 4.0 according to others who read the Zenodo record; see there",
        citation="M. Wieler and T. Hahn, Weakly supervised learning for industrial optical inspection, DAGM symposium, 2007",
        bring="Class7.zip to Class10.zip, or the archive of Kaggle's DAGM_KaggleUpload",
        mirrors=tuple(
            tuple(f"https://zenodo.org/records/{record}/files/Class{number}.zip?download=1" for number in (7, 8, 9, 10))
            for record in (8086136, 12750201)
        ),
        files=("Class*/Train/Label/*", "Class*/Test/Label/*"),
        content_sha256=None,
    ),
}
