"""How big a network is: Eq. 1-4 in closed form, the paper's counter, and the work really done.

The paper's FLOPs are multiply-accumulates (MACs) as the tool ptflops counted them in versions 0.6.6
to 0.7. ``paper_counter`` follows its rules, stated in ``paper_macs``; ``true_macs`` counts what a
convolution has to do, each once. Both come from forward hooks on the real modules.
"""

from collections import Counter
from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor, nn

# --- Eq. 1-4, as printed. K_h, K_w: kernel; F_h, F_w: feature map; g: groups. -------------------


def params_conv(k_h: int, k_w: int, c_in: int, c_out: int) -> int:
    """Parameters of a convolution without bias (Eq. 1)."""
    return k_h * k_w * c_in * c_out


def flops_conv(k_h: int, k_w: int, c_in: int, c_out: int, f_h: int, f_w: int, g: int = 1) -> float:
    """FLOPs of a convolution as Eq. 2 prints them; the paper's figures do not follow it (see macs_conv)."""
    return (2 * k_h * k_w - 1) / g * c_in * f_h * f_w * c_out


def params_dwconv(k_h: int, k_w: int, c_in: int, c_out: int) -> int:
    """Parameters of a depthwise separable convolution without bias (Eq. 3)."""
    return c_in * k_h * k_w + c_in * c_out


def flops_dwconv(k_h: int, k_w: int, c_in: int, c_out: int, f_h: int, f_w: int) -> int:
    """FLOPs of a depthwise separable convolution as Eq. 4 prints them."""
    return (2 * k_h * k_w - 1) * f_h * f_w * c_out + c_in * f_h * f_w * c_out


def macs_conv(k_h: int, k_w: int, c_in: int, c_out: int, f_h: int, f_w: int) -> int:
    """Multiply-accumulates of a convolution: the rule that gives the figures the paper prints in III.C."""
    return k_h * k_w * c_in * c_out * f_h * f_w


# --- The blocks, from their channels (Table I) and the size of the feature map. ------------------


def light_params(c: int, m: int) -> int:
    """Parameters of a Light block: convolutions, three norms (two each), three PReLU slopes."""
    return 2 * c * m + params_dwconv(3, 3, m, m) + 2 * (2 * m + c) + 3


def wide_params(c: int, m: int) -> int:
    """Parameters of a Wide block: convolutions, three norms (two each), three PReLU slopes."""
    return 2 * c * m + 2 * params_conv(5, 1, m, m) + 2 * (2 * m + c) + 3


def resampling_params(c_in: int, m: int, c_out: int) -> int:
    """Parameters of a Down or Up block: three convolutions with a bottleneck of m, one past it, four norms, three PReLU slopes."""
    return c_in * m + params_conv(2, 2, m, m) + m * c_out + c_in * c_out + 2 * 2 * (m + c_out) + 3


def cat_params(c: int) -> int:
    """Parameters of the Cat block's depthwise separable convolution, from 2C channels to C."""
    return params_dwconv(3, 3, 2 * c, c)


def head_params(c: int) -> int:
    """Parameters of the seg head, from C channels and m = C / 2: three convolutions, the last with a bias, two norms, two PReLU slopes."""
    m = c // 2
    return params_conv(2, 2, c, m) + params_dwconv(3, 3, m, m) + params_conv(3, 3, m, 1) + 1 + 2 * 2 * m + 2


def light_macs(c: int, m: int, f_h: int, f_w: int) -> int:
    """A Light block by the paper's counter: MACs, 2 a value for a norm, 1 a value for a PReLU."""
    return (2 * c * m + params_dwconv(3, 3, m, m) + 3 * (2 * m + c)) * f_h * f_w


def wide_macs(c: int, m: int, f_h: int, f_w: int) -> int:
    """A Wide block by the paper's counter: MACs, 2 a value for a norm, 1 a value for a PReLU."""
    return (2 * c * m + 2 * params_conv(5, 1, m, m) + 3 * (2 * m + c)) * f_h * f_w


# --- Counting a module's work from its input and output. -----------------------------------------


def paper_macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """What ptflops 0.6.6-0.7 counts for one call of a module (0 for a kind it does not know).

    Kinds are matched exactly: a subclass such as SyncBatchNorm counts 0, and so does every functional
    call. A transposed convolution is counted at its output size, stride^2 times the work it does.
    """
    kind = type(module)
    if kind in (nn.Conv2d, nn.ConvTranspose2d):
        macs = module.weight.numel() * prod(y.shape[2:])
        return macs + (y.numel() if module.bias is not None else 0)
    if kind is nn.BatchNorm2d:
        return 2 * x.numel()
    if kind in (nn.ReLU, nn.PReLU, nn.ReLU6, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d):
        return x.numel()
    if kind is nn.Upsample:
        return y.numel()
    return 0


def conv_macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """MACs a convolution does; a transposed one meets each weight once for every input pixel."""
    if isinstance(module, nn.ConvTranspose2d):
        return module.weight.numel() * prod(x.shape[2:])
    if isinstance(module, nn.Conv2d):
        return module.weight.numel() * prod(y.shape[2:])
    return 0


def parameters(model: nn.Module) -> int:
    """Trainable parameters, each once, as the paper counts them."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def paper_counter(model: nn.Module, size: int | tuple[int, int]) -> int:
    """The paper's "FLOPs" of one forward pass of a 3 x size x size image, in evaluation mode.

    A module registered under two parents is summed twice, as ptflops does.
    """
    times = registrations(model)
    return sum(paper_macs(module, x, y) * times[module] for module, x, y in calls(model, size))


def registrations(model: nn.Module) -> Counter[nn.Module]:
    """Under how many names each module stands in a network."""
    return Counter(module for _, module in model.named_modules(remove_duplicate=False))


def true_macs(model: nn.Module, size: int | tuple[int, int]) -> int:
    """Multiply-accumulates of all convolutions in one forward pass, each once."""
    return sum(conv_macs(module, x, y) for module, x, y in calls(model, size))


def layer_table(model: nn.Module, size: int | tuple[int, int]):
    """One row a leaf module, in the order of execution.

    Returns:
        DataFrame with name, kind, output (C, H, W), parameters, paper_macs, true_macs. The MACs sum to ``true_macs``
        and, unless a module is registered twice, to ``paper_counter``; the parameters, given where a module is
        first called, to those that run in evaluation mode.
    """
    import pandas as pd

    names = {module: name for name, module in model.named_modules()}
    rows, met = [], set()
    for module, x, y in calls(model, size):
        rows.append({
            "name": names[module], "kind": type(module).__name__, "output": tuple(y.shape[1:]),
            "parameters": 0 if module in met else parameters(module),
            "paper_macs": paper_macs(module, x, y), "true_macs": conv_macs(module, x, y),
        })
        met.add(module)
    return pd.DataFrame(rows)


def calls(
    model: nn.Module, size: int | tuple[int, int], channels: int = 3
) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
    """Every call of a leaf module in one forward pass: (module, input, output), in order, as meta tensors.

    The pass runs where the model's parameters are; on the meta device it costs no arithmetic. Norms, which change no shape
    and take torch half of the time there, pass on what they are given.
    """
    height, width = (size, size) if isinstance(size, int) else size
    seen: list[tuple[nn.Module, Tensor, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: seen.append((module, shape(inputs), shape(output))))
        for module in model.modules() if not list(module.children())
    ]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    was_training = model.training
    try:
        for norm in norms:
            norm.forward = lambda x: x
        with torch.no_grad():
            model.eval()(torch.zeros(1, channels, height, width, device=next(model.parameters()).device))
    finally:
        model.train(was_training)
        for norm in norms:
            del norm.forward
        for hook in hooks:
            hook.remove()
    yield from seen


def shape(value: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The first tensor of a module's input or output, on the meta device: its shape without its memory."""
    return (value[0] if isinstance(value, tuple) else value).to("meta")
