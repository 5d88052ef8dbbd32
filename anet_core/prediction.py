"""From pictures of any size to masks."""

from math import log

import numpy as np
import torch
from torch import Tensor, nn

from anet_core.network import MULTIPLE

THRESHOLD = 0.5  # on the probability; 0 on the logit
HALF = 127.5  # of the range of a value of 8 bits


def normalise(images: Tensor) -> Tensor:
    """What every network sees: uint8 (N, 3, H, W) to float32 in [-1, 1]. The paper gives no normalisation."""
    return images.float() / HALF - 1


def logit(probability: float) -> float:
    """What a network says of a pixel that has this probability, between 0 and 1, of a defect."""
    return log(probability / (1 - probability))


def pad_amounts(height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows (top, bottom) and columns (left, right) to add so that both become multiples of 32."""
    rows, columns = -height % MULTIPLE, -width % MULTIPLE
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def predict(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Masks of pictures of any size: padded by reflection, predicted in evaluation mode, cropped.

    Args:
        model: a network from (N, 3, H, W) to logits (N, 1, H, W).
        images: uint8 (N, H, W, 3), or one picture (H, W, 3).

    Returns:
        bool (N, H, W), or (H, W): True where the network sees a defect.

    Raises:
        ValueError: another shape or type; ``dataset.read_image`` reads any picture into the right one.
    """
    require_pictures(images, dimensions=(3, 4))
    if images.ndim == 3:
        return predict(model, images[None])[0]
    height, width = images.shape[1:3]
    rows, columns = pad_amounts(height, width)
    padded = np.pad(images, ((0, 0), rows, columns, (0, 0)), mode="reflect")
    batch = torch.from_numpy(padded).permute(0, 3, 1, 2)  # (N, 3, H + rows, W + columns)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = model(normalise(batch.to(next(model.parameters()).device)))
    finally:
        model.train(was_training)
    probability = logits.sigmoid()[:, 0].cpu().numpy()
    return probability[:, rows[0] : rows[0] + height, columns[0] : columns[0] + width] > THRESHOLD


def require_pictures(images: np.ndarray, dimensions: tuple[int, ...]) -> None:
    """Raise ValueError unless images is uint8, (H, W, 3) where 3 is among the dimensions, (N, H, W, 3) where 4 is."""
    if not isinstance(images, np.ndarray):
        raise ValueError(f"the picture is given as {type(images).__name__}; give an array, as anet_core.dataset.read_image returns it.")
    if images.dtype != np.uint8 or images.ndim not in dimensions or images.shape[-1] != 3 or 0 in images.shape:
        wanted = " or ".join({3: "(H, W, 3)", 4: "(N, H, W, 3)"}[number] for number in dimensions)
        raise ValueError(
            f"the picture is {images.dtype} {images.shape}; give uint8 {wanted}, as "
            "anet_core.dataset.read_image returns it, which also repeats a grey channel three times."
        )
