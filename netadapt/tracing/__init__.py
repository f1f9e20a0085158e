"""From a PyTorch model to a frozen :class:`netadapt.network.Network`, without per-network code.

How: the model's code is captured as a graph (:mod:`._capture`) and walked in order (:mod:`._walk`).
Each tensor carries a vector of channel ids along one of its dimensions (:mod:`._values`). For each
operation a small function in a plain dict says what becomes of them (:mod:`._weights`,
:mod:`._elementwise`, :mod:`._spatial`, :mod:`._shapes`, :mod:`._parts`) and ties in a union-find
those that can only be removed together (:mod:`._ledger`). Channels that no place tells apart form
a group (:mod:`._groups`). What is not understood is fixed, and the reason kept.
"""

from netadapt.tracing._trace import trace
from netadapt.tracing.unwrap import unwrap

__all__ = ["trace", "unwrap"]
