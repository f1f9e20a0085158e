#!/usr/bin/env python3
"""Trace, verify, save and export networks that nobody tuned to, beside Torch-Pruning.

    pip install 'netadapt[zoo]'
    python scripts/zoo.py [PATTERN ...]

Writes results/zoo.csv, a row for each network as soon as it is done; started again, it goes on with
those that have none. Of each network:

    share             MACs of convolutions and linear layers in layers that can shrink
    value             half of every group removed: largest relative difference from the same
                      channels zeroed, in both modes; 'shapes' if no group is exact
    loader            how it loads without its class: its text ('graph'), or its program
    export            largest relative difference of ONNX Runtime from torch, of the pruned network
    trace_s           processor seconds of the trace
    torch_pruning     what Torch-Pruning's network does, with half of each of its groups removed
"""

import csv
import fnmatch
import importlib
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch_pruning
from provenance import write_csv
from torch import Tensor, nn

from netadapt.export import first_output, onnx_difference, to_onnx
from netadapt.export.loader import loader_source
from netadapt.network import Network, keep_first, shrinkable
from netadapt.pruning.check import verify_together
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace

TARGET = Path(__file__).resolve().parent.parent / "results" / "zoo.csv"
COLUMNS = ("model", "size", "share", "value", "loader", "export", "trace_s", "torch_pruning")
PRODUCTS = frozenset({"conv", "conv_transpose", "conv_nd", "deform_conv", "linear"})
LIMIT_S = 300
"""Processor seconds for each step of a network of ours, so that a busy machine fails none."""

TIMM = """
    ghostnet_100 res2net50_26w_4s resnest14d skresnet18 ecaresnet26t nf_resnet26 eca_nfnet_l0
    convnextv2_atto mobilevit_xxs repghostnet_050 mixnet_s hrnet_w18_small dla34 cspresnet50
    vovnet39a selecsls42 edgenext_xx_small poolformer_s12 starnet_s1 mobileone_s0 fastvit_t8
    inception_next_atto mobilenetv4_conv_small dpn48b xception41 gernet_s botnet26t_256 rexnet_100
    repvit_m0_9 efficientvit_b0 tresnet_m inception_v4
"""
PYTORCHCV = """
    shufflenet_g2_w1 menet108_8x1_g3 condensenet74_c4_g4 fdmobilenet_wd2 igcv3_wd4 channelnet
    airnet50_1x64d_r2 bam_resnet18 cbam_resnet18 diapreresnet20_cifar10 pyramidnet110_a48_cifar10
    nin_cifar10 peleenet fractalnet_cifar10 octresnet10_ad2 espnetv2_wd2 sharesnet18 msdnet22
    xdensenet40_2_k24_bc_cifar10 ror3_110_cifar10 rir_cifar10 scnet50 dicenet_wd5 bagnet9 drnd22
    superpointnet simplepose_resnet18_coco lwopenpose2d_mobilenet_cmupan_coco
    centernet_resnet18_voc sinet_cityscapes edanet_cityscapes fastscnn_cityscapes
    bisenet_resnet18_celebamaskhq lffd20x5s320v2_widerface
    isqrtcovresnet18 ntsnet_cub
"""
SEGMENTATION = "Unet UnetPlusPlus FPN PSPNet DeepLabV3Plus Linknet PAN MAnet UPerNet"
SPANDREL = {
    "SPAN.__arch.span:SPAN": {
        "num_in_ch": 3, "num_out_ch": 3, "feature_channels": 32, "upscale": 2, "norm": False,
    },
    "Compact.__arch.SRVGG:SRVGGNetCompact": {"num_feat": 32, "num_conv": 4, "upscale": 2},
    "ESRGAN.__arch.RRDB:RRDBNet": {"num_filters": 32, "num_blocks": 2, "scale": 2},
    "RCAN.__arch.rcan_arch:RCAN": {"n_resgroups": 2, "n_resblocks": 2, "scale": 2},
    "SAFMN.__arch.safmn:SAFMN": {"dim": 36, "n_blocks": 4, "upscaling_factor": 2},
    "NAFNet.__arch.NAFNet_arch:NAFNet": {
        "width": 16, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1],
    },
    "OmniSR.__arch.OmniSR:OmniSR": {"num_feat": 32, "res_num": 1, "up_scale": 2},
    "PLKSR.__arch.PLKSR:PLKSR": {"dim": 32, "n_blocks": 4, "upscaling_factor": 2},
    "PLKSR.__arch.RealPLKSR:RealPLKSR": {"dim": 32, "n_blocks": 4, "upscaling_factor": 2},
}  # fmt: skip

Build = Callable[[], nn.Module]


def zoo() -> Iterator[tuple[str, tuple[int, ...], Build]]:
    """Every network: its name, the shape of one input, and what builds it."""
    yield from timm_networks()
    yield from pytorchcv_networks()
    yield from segmentation_networks()
    yield from spandrel_networks()


def timm_networks() -> Iterator[tuple[str, tuple[int, ...], Build]]:
    """Classifiers of timm."""
    timm = importlib.import_module("timm")
    for name in TIMM.split():
        fixed = any(part in name for part in ("botnet", "edgenext"))
        size = 256 if fixed else 96
        yield f"timm:{name}", (3, size, size), lambda name=name: timm.create_model(name)


def pytorchcv_networks() -> Iterator[tuple[str, tuple[int, ...], Build]]:
    """Classifiers, segmentation, poses, detection and speech of pytorchcv."""
    provider = importlib.import_module("pytorchcv.model_provider")
    for name in PYTORCHCV.split():
        shape: tuple[int, ...] = (3, 224, 224)
        if "cifar" in name:
            shape = (3, 32, 32)
        elif "cityscapes" in name or "celeba" in name:
            shape = (3, 256, 256)
        elif name == "superpointnet":
            shape = (1, 128, 128)
        yield f"pytorchcv:{name}", shape, lambda name=name: provider.get_model(name)


def segmentation_networks() -> Iterator[tuple[str, tuple[int, ...], Build]]:
    """Segmentation, on an encoder that is traced easily and on one that is not."""
    smp = importlib.import_module("segmentation_models_pytorch")
    for index, name in enumerate(SEGMENTATION.split()):
        encoder = ("resnet18", "mobilenet_v2")[index % 2]

        def make(name: str = name, encoder: str = encoder) -> nn.Module:
            return getattr(smp, name)(encoder, encoder_weights=None)

        yield f"smp:{name}:{encoder}", (3, 128, 128), make


def spandrel_networks() -> Iterator[tuple[str, tuple[int, ...], Build]]:
    """Super-resolution and restoration of spandrel."""
    for place, options in SPANDREL.items():
        module, _, kind = place.partition(":")

        def make(module: str = module, kind: str = kind, options: Any = options) -> nn.Module:
            found = importlib.import_module(f"spandrel.architectures.{module}")
            return getattr(found, kind)(**options)

        yield f"spandrel:{kind}", (3, 48, 48), make


@contextmanager
def limited(seconds: int = LIMIT_S) -> Iterator[None]:
    """Raise TimeoutError after a time of the processor."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def said(error: BaseException) -> str:
    """A failure in one line of a CSV."""
    lines = str(error).strip().splitlines() or [""]
    return f"failed: {type(error).__name__}: {lines[0][:120]}"


def tried(step: Callable[[], str], seconds: int = LIMIT_S) -> str:
    """What a step found, or how it failed."""
    try:
        with limited(seconds):
            return step()
    except Exception as error:  # a failure is a finding
        return said(error)


def share(network: Network) -> float:
    """MACs of convolutions and linear layers in layers that can shrink."""
    pairs = [(layer, shape) for layer, shape in zip(network.costed, network.at({}), strict=True)
             if layer.op in PRODUCTS]  # fmt: skip
    free = sum(shape.macs for layer, shape in pairs if layer.cin.groups or layer.cout.groups)
    return free / max(1, sum(shape.macs for _, shape in pairs))


def value(model: nn.Module, network: Network) -> str:
    """The largest difference of pruned from masked, in both modes."""
    checks = verify_together(model, network)
    failed = next((check for check in checks if check.status == "failed"), None)
    if failed:
        return f"wrong: {failed.mode}: {failed.detail[:120]}"
    ran = [check for check in checks if check.status != "not run"]
    exact = [check.relative for check in ran if check.status == "equal"]
    if exact:
        return f"{max(exact):.1e}"
    return "shapes" if ran else "not run" if checks else "nothing to remove"


def halved(model: nn.Module, network: Network) -> nn.Module:
    """The network with half of each group."""
    sizes = {g.id: max(g.least, g.size // 2) for g in shrinkable(network)}
    keep = {g: units for g, units in keep_first(network, sizes).items() if g in sizes}
    return shrink(model, network, keep).eval()


def by_torch_pruning(build: Build, images: Tensor) -> str:
    """What Torch-Pruning's network does with half of each of its groups removed."""
    model = build().eval()
    last = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1:]
    before = sum(p.numel() for p in model.parameters())
    expected = first_output(model(images.clone())).shape
    pruner = torch_pruning.pruner.MagnitudePruner(
        model, (images,), torch_pruning.importance.RandomImportance(), pruning_ratio=0.5,
        ignored_layers=last,
    )  # fmt: skip
    pruner.step()
    found = first_output(model.eval()(images.clone())).shape
    if found != expected:
        return f"wrong shape: {list(found)}"
    return f"runs, {sum(p.numel() for p in model.parameters()) / before:.0%} of parameters"


def row(name: str, shape: tuple[int, ...], build: Build) -> dict[str, str]:
    """All that is found out about one network."""
    found = dict.fromkeys(COLUMNS, "")
    found |= {"model": name, "size": "x".join(map(str, shape))}
    torch.manual_seed(0)
    images = torch.randn(2, *shape)
    try:
        with limited():
            model = build().eval()
            started = time.process_time()
            network = trace(model, shape)
        found["trace_s"] = f"{time.process_time() - started:.2f}"
        found["share"] = f"{share(network):.3f}"
        pruned = halved(model, network)
    except Exception as error:  # a failure is a finding
        return {**found, "value": said(error)}
    found["value"] = tried(lambda: value(model, network))
    found["loader"] = tried(lambda: loader_source(pruned, images)[1])
    found["export"] = tried(
        lambda: f"{onnx_difference(to_onnx(pruned, shape), pruned, images):.1e}"
    )
    found["torch_pruning"] = tried(lambda: by_torch_pruning(build, images), 60)
    return found


def summary(rows: list[dict[str, str]]) -> str:
    """The sum, as the README tells it."""
    shares = [float(r["share"]) for r in rows if r["share"]]
    right = [r for r in rows if re.fullmatch(r"shapes|[\d.]+e[-+]\d+", r["value"])]
    theirs = [r for r in rows if r["torch_pruning"].startswith("runs")]
    return (
        f"{len(rows)} networks: {sum(s >= 0.95 for s in shares)} with at least 95 % of their MACs "
        f"in layers that can shrink, {len(right)} right, {len(theirs)} run after Torch-Pruning"
    )


def main() -> None:
    """Go through the networks that match, or all."""
    warnings.simplefilter("ignore")
    patterns = sys.argv[1:] or ["*"]
    rows = list(csv.DictReader(TARGET.open(newline=""))) if TARGET.exists() else []
    done = {found["model"] for found in rows}
    for name, shape, build in zoo():
        if name in done or not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        rows.append(row(name, shape, build))
        write_csv(TARGET, rows, sys.argv)
        print(*rows[-1].values(), sep=" | ", flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
