"""The builds of networks that were counted for the printed parameters and FLOPs of Tables II-IV.

A network of ``anet_core.build`` is what somebody would train and deploy. Some printed figures belong to
another build of it: with idle modules, a backbone registered twice, a frozen backbone, training heads that
run. Each of PRINTED_BUILDS turns the network into that build, in place, and says in its first line how it
differs.
"""

from collections.abc import Callable
from copy import deepcopy

from torch import nn
from torch.nn import functional as F

from anet_core.peers.enet import Bottleneck, conv
from anet_core.peers.erfnet import FactorisedConv, NonBottleneck1D
from anet_core.peers.layers import conv_bn_relu, resize
from anet_core.registry import build


def printed_fcn(model: nn.Module) -> nn.Module:
    """The backbone is registered twice and summed twice; its ImageNet classifier lies idle."""
    model.backbone_again = model.backbone
    model.imagenet_classifier = nn.Linear(2048, 1000)
    return model


class SyncedBatchNorm(nn.BatchNorm2d):
    """A norm that synchronises devices: to the paper's counter, which matches kinds exactly, an unknown module."""


def printed_deeplabv3plus(model: nn.Module) -> nn.Module:
    """The norms are a subclass that synchronises devices, so the counter passes over them."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncedBatchNorm
    return model


def printed_refinenet(model: nn.Module) -> nn.Module:
    """The frozen backbone is left out of the parameters, and two more heads lie idle."""
    model.backbone.requires_grad_(False)
    model.idle_heads = nn.ModuleList([deepcopy(model.head), deepcopy(model.head)])
    return model


def printed_bisenet(model: nn.Module) -> nn.Module:
    """The context path is registered twice and summed twice; its ImageNet classifier and the norms of the ARMs lie idle."""
    model.context_path_again = model.context_path
    model.imagenet_classifier = nn.Linear(512, 1000)
    model.idle_norms = nn.ModuleList([nn.BatchNorm2d(256), nn.BatchNorm2d(512)])
    return model


def printed_stdc(model: nn.Module) -> nn.Module:
    """The backbone is registered twice and summed twice, all six training heads run, an ImageNet tail lies idle."""
    model.backbone_again = model.backbone
    model.imagenet_tail = nn.ModuleList([
        conv_bn_relu(1024, 1024, 1),
        nn.Linear(1024, 1024, bias=False), nn.BatchNorm1d(1024), nn.Linear(1024, 1000, bias=False),
    ])
    # Only this flag is in training mode; the norms below it stay in evaluation mode.
    model.register_forward_pre_hook(lambda network, _: setattr(network, "training", True))
    return model


def printed_erfnet(model: nn.Module) -> nn.Module:
    """The parameters include the 1x1 head of the encoder's own pre-training, which never runs.

    The printed parameters, and the printed FLOPs at 512, stay a little above this build's.
    """
    model.encoder_head = nn.Conv2d(128, 1, 1)
    return model


def printed_esnet(model: nn.Module) -> nn.Module:
    """The parameters include an idle 1x1 head, and many ReLUs are modules, which count, and not functions, which do not.

    Which ReLUs is a conjecture: two choices give the same count, and this one leaves the samplers as ERFNet has them.
    A second ReLU behind the first changes the count and nothing else.
    """
    for block in list(model.modules()):
        if isinstance(block, FactorisedConv):
            block.vertical = nn.Sequential(block.vertical, nn.ReLU())
        if isinstance(block, NonBottleneck1D):
            block.norm1 = nn.Sequential(block.norm1, nn.ReLU())
    for stage in (model.encoder, model.decoder):
        for i, block in enumerate(stage):
            if isinstance(block, NonBottleneck1D):
                stage[i] = nn.Sequential(block, nn.ReLU())
    model.encoder_head = nn.Conv2d(128, 1, 1)
    return model


def printed_enet(model: nn.Module) -> nn.Module:
    """The parameters include the fifth block of stage 3, which is built but never run."""
    model.idle = Bottleneck(128, 32, conv(32, 32, 3))
    return model


def conjectured_topformer(model: nn.Module) -> nn.Module:
    """A conjecture: the printed FLOPs fit if global tokens are resized before their 1x1 and the classifier runs at full size."""
    for injection in model.injections:
        injection.register_forward_pre_hook(lambda _, inputs: (inputs[0], resize(inputs[1], inputs[0])))
    model.classifier.register_forward_pre_hook(lambda _, inputs: F.interpolate(inputs[0], scale_factor=8, mode="bilinear"))
    return model


PRINTED_BUILDS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "FCN": printed_fcn, "DeepLabV3+": printed_deeplabv3plus, "RefineNet": printed_refinenet, "BiSeNet": printed_bisenet,
    "STDC": printed_stdc, "ERFNet": printed_erfnet, "ESNet": printed_esnet, "ENet": printed_enet,
    "TopFormer": conjectured_topformer,
}


def printed_build(name: str) -> nn.Module:
    """The build of a network whose parameters and paper's count are the printed ones, or nearest to them where none was found (on the current device)."""
    network = build(name)
    return PRINTED_BUILDS[name](network) if name in PRINTED_BUILDS else network


def counted_build(name: str) -> str:
    """In one line, how the printed build differs from the network; empty where it does not."""
    return PRINTED_BUILDS[name].__doc__.splitlines()[0].rstrip(".") if name in PRINTED_BUILDS else ""
