"""A model at many widths as ONNX: cut where that equals an export, exported anew where not."""

from functools import cached_property

from torch import nn

from netadapt.errors import ModelError
from netadapt.export.onnx import to_onnx
from netadapt.export.template import Template
from netadapt.network import Network, Sizes
from netadapt.pruning.surgery import Keep, named_tensors, shrink
from netadapt.tracing import unwrap


class Exporter:
    """Writes a model at many widths: from a template where that equals an export, else anew.

    Args:
        module: the unpruned model.
        network: what was traced from it.
        batch: images at a time.
    """

    def __init__(self, module: nn.Module, network: Network, *, batch: int = 1) -> None:
        self.module, self.network, self.batch = module, network, batch

    @cached_property
    def template(self) -> Template | str:
        """The template, or why there is none; made when it is first asked for."""
        try:
            return Template.of(self.module, self.network, batch=self.batch)
        except ModelError as error:
            return str(error)

    @property
    def remark(self) -> str:
        """One sentence for the user where each network is exported anew; otherwise empty.

        Empty too as long as nothing was written.
        """
        if "template" not in self.__dict__ or isinstance(self.template, Template):
            return ""
        return (
            f"{type(unwrap(self.module)).__name__} is exported anew for each choice of widths, "
            f"which takes seconds each time: {self.template}"
        )

    @property
    def padding_bytes(self) -> int:
        """What the file of an exporter holds beyond what is written here."""
        return self.template.padding_bytes if isinstance(self.template, Template) else 0

    def kept(self, keep: Keep) -> bytes:
        """The unpruned model with only some units of each group kept, as serialized ONNX.

        Raises:
            ModelError: it cannot be written as ONNX.
        """
        if isinstance(self.template, Template):
            return self.template.at(self.module, keep)
        return self._anew(shrink(self.module, self.network, keep))

    def shrunk(self, model: nn.Module, sizes: Sizes) -> bytes:
        """A shrunk model with weights of its own, as serialized ONNX.

        Args:
            model: what :func:`netadapt.pruning.surgery.shrink` made of the unpruned model, trained
                on or not.
            sizes: of its groups.

        Raises:
            ModelError: it cannot be written as ONNX.
        """
        if isinstance(self.template, Template):
            return self.template.filled(sizes, named_tensors(unwrap(model)))
        return self._anew(model)

    def _anew(self, model: nn.Module) -> bytes:
        return to_onnx(model, self.network.input_shape, batch=self.batch)
