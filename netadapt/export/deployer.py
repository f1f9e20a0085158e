"""Networks of one model as devices run them: cut from one export, or the very files of a result."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torch import nn

from netadapt.export.deployment import as_deployed
from netadapt.export.exporter import Exporter
from netadapt.export.onnx import to_onnx
from netadapt.network import Network, Sizes
from netadapt.platforms.measurement import DeviceInfo
from netadapt.pruning.surgery import Keep


@dataclass
class Written:
    """One network in every form that devices take; each is written once.

    Attributes:
        plain: writes it in float32, for so many images at a time.
        images: give 8-bit activations their ranges.
        padding: how many bytes the file of a result holds beyond what is written here.
    """

    plain: Callable[[int], bytes]
    images: Callable[[], Any]
    padding: Callable[[], int] = lambda: 0
    _forms: dict[tuple[str, int], bytes] = field(default_factory=dict, init=False, repr=False)

    def deploy(self, info: DeviceInfo) -> bytes:
        """Serialized ONNX as a device runs it."""
        form = (info.precision, info.batch)
        if form not in self._forms:
            images = self.images() if info.precision == "int8" else None
            self._forms[form] = as_deployed(self.plain(info.batch), info, images)
        return self._forms[form]

    def single(self, info: DeviceInfo) -> bytes:
        """The same for one image at a time."""
        return self.deploy(replace(info, batch=1))

    def size_bytes(self, info: DeviceInfo) -> int:
        """Size of the file that a user gets: for one image, in the device's precision."""
        return len(self.single(info)) + self.padding()


@dataclass
class Deployer:
    """Writes a model at any widths.

    Attributes:
        module: the unpruned model.
        network: what was traced from it.
        images: give 8-bit activations their ranges; called when they are needed.
        warn: told once, in a sentence, if each network has to be exported anew.
    """

    module: nn.Module
    network: Network
    images: Callable[[], Any]
    warn: Callable[[str], None]
    _exporters: dict[int, Exporter] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def original(self) -> Written:
        """The unpruned model with the weights that it has when it is first written."""
        return self.shrunk(self.module, {})

    def unpruned(self) -> Written:
        """The unpruned model with its present weights; exported once if nothing was written yet."""
        if self._exporters:
            return self.shrunk(self.module, {})
        shape = self.network.input_shape
        return Written(lambda batch: to_onnx(self.module, shape, batch=batch), self.images)

    def shrunk(self, model: nn.Module, sizes: Sizes) -> Written:
        """A shrunk model with weights of its own, cut from one export.

        What a cut file leaves out, such as the exporter's remarks, is counted into its size.
        """
        return Written(
            lambda batch: self._exporter(batch).shrunk(model, sizes),
            self.images,
            lambda: self._exporter(1).padding_bytes,
        )

    def first_of(self, keep: Keep) -> Written:
        """The model with some of its channels, and its own weights of these."""
        return Written(lambda batch: self._exporter(batch).kept(keep), self.images)

    def result(self, model: nn.Module, sizes: Sizes, file: bytes) -> Written:
        """A shrunk model whose float32 file for one image is there."""
        return Written(
            lambda batch: file if batch == 1 else self._exporter(batch).shrunk(model, sizes),
            self.images,
        )

    def _exporter(self, batch: int) -> Exporter:
        if batch not in self._exporters:
            exporter = self._exporters[batch] = Exporter(self.module, self.network, batch=batch)
            if isinstance(exporter.template, str):
                self.warn(exporter.remark)
        return self._exporters[batch]
