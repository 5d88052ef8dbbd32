import pytest
import torch

from anet_core.loss import BCE_WEIGHT, EPSILON, dice_loss, segmentation_loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 1, 5, 4, generator=generator, dtype=torch.float64)
    return logits, (torch.rand(3, 1, 5, 4, generator=generator) < 0.3).double()


def written_out(logits, mask):
    """Eq. 6 and 7 of one image, pixel by pixel."""
    p = [1 / (1 + torch.exp(-x)) for x in logits.flatten()]
    g = mask.flatten()
    overlap = sum(a * b for a, b in zip(p, g))
    dice = 1 - (2 * overlap + EPSILON) / (sum(a * a for a in p) + sum(b * b for b in g) + EPSILON)
    bce = -sum(b * torch.log(a) + (1 - b) * torch.log(1 - a) for a, b in zip(p, g)) / len(g)
    return dice, bce


def test_equals_the_equations_written_out(batch):
    logits, mask = batch
    dice, bce = zip(*(written_out(x, g) for x, g in zip(logits, mask)))
    by_hand = sum(dice) / len(dice) + 0.5 * sum(bce) / len(bce)
    assert BCE_WEIGHT == 0.5
    torch.testing.assert_close(segmentation_loss(logits, mask, "image"), by_hand)
    whole = (logits.reshape(1, 1, -1, 4), mask.reshape(1, 1, -1, 4))
    torch.testing.assert_close(dice_loss(logits, mask, "batch"), written_out(*whole)[0])


@pytest.mark.parametrize("reduction", ["image", "batch"])
def test_gradient_against_finite_differences(batch, reduction):
    logits, mask = batch
    assert torch.autograd.gradcheck(lambda x: segmentation_loss(x, mask, reduction), logits.requires_grad_())


@pytest.mark.parametrize("logit", [-1e4, -100.0, 100.0, 1e4])
def test_finite_where_the_sigmoid_saturates(logit):
    logits = torch.full((1, 1, 4, 4), logit, requires_grad=True)
    loss = segmentation_loss(logits, torch.zeros(1, 1, 4, 4), "image")
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


def test_empty_mask_costs_nothing_once_the_squared_probabilities_are_far_below_epsilon():
    empty = torch.zeros(2, 1, 224, 224)
    assert segmentation_loss(empty - 50, empty, "image") < 1e-9
    assert dice_loss(torch.full_like(empty, 0.01).logit(), empty, "image") > 0.8


def test_half_precision_is_summed_in_float32():
    logits = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    mask = (torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    assert torch.equal(segmentation_loss(logits, mask, "image"), segmentation_loss(logits.float(), mask, "image"))


def test_unknown_reduction():
    with pytest.raises(ValueError, match="'sum'.*image, batch"):
        dice_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), "sum")
