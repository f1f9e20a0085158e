"""The model inside wrappers, and models that netadapt refuses."""

from torch import nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.jit import ScriptModule
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import is_lazy

from netadapt.errors import ModelError

WRAPPERS = {
    OptimizedModule: "_orig_mod",
    DistributedDataParallel: "module",
    DataParallel: "module",
}


def unwrap(model: nn.Module) -> nn.Module:
    """The model that a wrapper for compilation or data parallelism holds.

    Raises:
        ModelError: a part of the model is wrapped, scripted, sharded, or not yet initialized.
    """
    while type(model) in WRAPPERS:
        model = getattr(model, WRAPPERS[type(model)])
    for name, module in model.named_modules():
        refuse(name or "the model", module)
    return model


def refuse(name: str, module: nn.Module) -> None:
    """Refuse a module whose tensors cannot be removed from, and say what to do."""
    kind = type(module).__name__
    if type(module) in WRAPPERS:
        said = f"{name} is wrapped in {kind}; wrap the whole model only, or wrap it afterwards."
    elif isinstance(module, ScriptModule):
        said = f"{name} is a ScriptModule, whose code is compiled; give the original nn.Module."
    elif "FullyShardedDataParallel" in kind or kind.startswith("FSDP"):
        said = f"{name} is sharded by {kind}; shrink the model first, and shard it afterwards."
    elif any(is_lazy(p) for p in module.parameters(recurse=False)):
        said = f"{name} ({kind}) has no shapes yet; run the model once on an image first."
    else:
        return
    raise ModelError(said)
