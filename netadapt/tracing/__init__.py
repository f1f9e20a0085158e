"""From a PyTorch model to a frozen :class:`netadapt.network.Network`, without per-network code.

How: a stand-in for the model runs the model's own code once for each mode (:mod:`._shadow`,
:mod:`._run`), on tensors without storage and with integers that know where they come from
(:mod:`._numbers`). Each tensor carries channel ids along its dimensions (:mod:`._values`). For each
operation a small function in a plain dict (:mod:`._functions`) says what becomes of them and ties
in a union-find those that can only be removed together (:mod:`._ledger`). Channels that no place
tells apart form a group (:mod:`._groups`). What is not understood is fixed, and the reason kept.
"""

from netadapt.tracing._shadow import duplicate
from netadapt.tracing._trace import trace
from netadapt.tracing.unwrap import unwrap

__all__ = ["duplicate", "trace", "unwrap"]
