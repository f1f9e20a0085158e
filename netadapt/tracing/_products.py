"""Rules of products of tensors: matrix products, einsum, attention.

A dimension that is summed over holds the same channels in both operands. Each product is a layer
without weights of its own, or a linear layer if an operand is computed from parameters alone.
"""

import math
from collections.abc import Sequence
from typing import Any

from netadapt.tracing._ledger import NONE, Ids, nobody
from netadapt.tracing._values import Call, Value, position

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def contract(call: Call, operands: Sequence[Value], terms: Sequence[str], out: str) -> Value:
    """A product in the notation of einsum, without ellipses.

    Args:
        call: the call.
        operands: the tensors.
        terms: for each, one letter for each of its dimensions.
        out: the letters of the result.
    """
    held = [call.solid(value) for value in operands]
    sizes: dict[str, int] = {}
    for value, term in zip(held, terms, strict=True):
        for letter, size in zip(term, value.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    ids = {letter: agreed(call, letter, size, held, terms) for letter, size in sizes.items()}
    data = [bool(v.axes) and all(call.ledger.places(i) for i in v.axes.values()) for v in held]
    for letter in sizes.keys() - set(out):
        summed(call, letter, ids[letter], held, terms, data)
    for letter in out:
        for value, term, computed in zip(held, terms, data, strict=True):
            if computed and letter in term:
                call.ledger.act_as(value.along(term.index(letter)), "out", call.name)
    result = call.value({d: ids[letter] for d, letter in enumerate(out)})
    priced(call, held, terms, out, sizes, ids, any(data))
    return result


def agreed(call: Call, letter: str, size: int, held: Sequence[Value], terms: Sequence[str]) -> Ids:
    """Tie the channels that operands have along dimensions of one letter."""
    found = [
        value.along(d)
        for value, term in zip(held, terms, strict=True)
        for d, other in enumerate(term)
        if other == letter and value.shape[d] == size
    ]
    first = next((ids for ids in found if (ids != NONE).any()), nobody(size))
    for ids in found:
        call.ledger.tie(first, ids, f"meets a tensor of fixed width in {call.what}")
    return first


def summed(
    call: Call, letter: str, ids: Ids, held: Sequence[Value], terms: Sequence[str],
    computed: Sequence[bool],
) -> None:  # fmt: skip
    """Note what a sum over channels reads."""
    weighted = False
    for value, term, weight in zip(held, terms, computed, strict=True):
        if weight and letter in term and not all(computed):
            call.ledger.act_as(value.along(term.index(letter)), "in")
            weighted = True
    if all(computed):
        call.ledger.blur(ids)
    elif not weighted:
        call.ledger.sum_over(ids)


def priced(
    call: Call, held: Sequence[Value], terms: Sequence[str], out: str, sizes: dict[str, int],
    ids: dict[str, Ids], weighted: bool,
) -> None:  # fmt: skip
    """Record a product as a layer: channels summed over, channels made, and rows."""
    if len(held) != 2:
        call.layer("other", held[0], Value(call.shape))
        return
    shared = [k for k in sizes if all(k in t for t in terms)]
    inner = [k for k in shared if k not in out]
    batch = [k for k in shared if k in out]
    left, right = ([k for k in t if k not in shared] for t in terms)
    wide = [k for k in sizes if k not in batch and (ids[k] != NONE).any()]
    if not wide:
        wide = inner[-1:] + right[-1:]
    cin = next((k for k in inner if k in wide), next((k for k in wide), None))
    cout = next((k for k in reversed(wide) if k != cin), None)
    rest = [sizes[k] for k in (*left, *right, *inner) if k not in (cin, cout)]
    images = call.found.batch
    first = [sizes[k] for k in batch]
    first = first[1:] if first and first[0] == images else first
    rows = (math.prod(first), math.prod(rest))
    if not (batch and sizes[batch[0]] == images) and rows[1] % images == 0:
        rows = (rows[0], rows[1] // images)
    call.layer(
        "linear" if weighted else "matmul", held[0], Value(call.shape),
        cin=ids[cin] if cin else nobody(1), cout=ids[cout] if cout else nobody(1),
        in_hw=rows, out_hw=rows,
    )  # fmt: skip


def matmul(call: Call, input: Value, other: Value, **_: Any) -> Any:
    """Matrix product with broadcast leading dimensions."""
    a, b = len(input.shape), len(other.shape)
    lead = LETTERS[: max(a, b) - 2] if max(a, b) > 2 else ""
    left = (lead[len(lead) - (a - 2) :] if a > 2 else "") + ("yk" if a > 1 else "k")
    right = (lead[len(lead) - (b - 2) :] if b > 2 else "") + ("kz" if b > 1 else "k")
    out = lead + ("y" if a > 1 else "") + ("z" if b > 1 else "")
    left, right, out = (term.replace("y", "Y").replace("z", "Z").replace("k", "K")
                        for term in (left, right, out))  # fmt: skip
    return contract(call, [input, other], [left, right], out)


def rmatmul(call: Call, input: Value, other: Value) -> Any:
    """Matrix product with its operands swapped."""
    return matmul(call, other, input)


def added(call: Call, input: Any, a: Value, b: Value, **_: Any) -> Any:
    """A matrix product added to a tensor: ``addmm``, ``baddbmm``."""
    result = matmul(call, a, b)
    if isinstance(input, Value):
        held = call.solid(input)
        shift = len(result.shape) - len(held.shape)
        for axis, ids in result.axes.items():
            own = axis - shift
            if own >= 0 and held.shape[own] == result.shape[axis]:
                if input.name:
                    call.ledger.slot(input.name, own, "out", ids)
                else:
                    call.ledger.tie(ids, held.along(own), f"meets fixed channels in {call.what}")
    return result


def tensordot(call: Call, a: Value, b: Value, dims: Any = 2, **_: Any) -> Any:
    """A product summed over some dimensions of each."""
    if isinstance(dims, int):
        left = list(range(len(a.shape) - dims, len(a.shape)))
        right = list(range(dims))
    else:
        left, right = ([position(d, len(v.shape)) for d in part]
                       for part, v in zip(dims, (a, b), strict=True))  # fmt: skip
    names_a = list(LETTERS[: len(a.shape)])
    names_b = list(LETTERS[len(a.shape) : len(a.shape) + len(b.shape)])
    for i, j in zip(left, right, strict=True):
        names_b[j] = names_a[i]
    out = "".join([n for i, n in enumerate(names_a) if i not in left]
                  + [n for j, n in enumerate(names_b) if j not in right])  # fmt: skip
    return contract(call, [a, b], ["".join(names_a), "".join(names_b)], out)


def einsum(call: Call, equation: str, *operands: Any) -> Any:
    """A product in Einstein's notation."""
    values = list(operands[0]) if isinstance(operands[0], list | tuple) else list(operands)
    left, _, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if "->" not in equation:
        counts = {k: left.count(k) for k in left if k.isalpha()}
        out = ("..." if "..." in left else "") + "".join(
            sorted(k for k in counts if counts[k] == 1)
        )
    free = [k for k in LETTERS if k not in equation]
    pairs = [(v, t) for v, t in zip(values, terms, strict=True) if "..." in t]
    widest = max((len(v.shape) - len(t.replace("...", "")) for v, t in pairs), default=0)
    spare = "".join(free[:widest])

    def spelled(term: str, ndim: int | None) -> str:
        count = widest if ndim is None else ndim - len(term.replace("...", ""))
        return term.replace("...", spare[len(spare) - count :] if count else "")

    terms = [spelled(t, len(v.shape)) for t, v in zip(terms, values, strict=True)]
    return contract(call, values, terms, spelled(out, None))


def attention(
    call: Call, query: Value, key: Value, value: Value, attn_mask: Any = None, *_: Any, **__: Any
) -> Any:
    """Scaled attention: the width of queries and keys is summed over, and scales the sums."""
    call.freeze(attn_mask, why=" as a mask")
    q, k, v = map(call.solid, (query, key, value))
    ndim = len(call.shape)
    lead = LETTERS[: ndim - 2]
    call_out = Value((*q.shape[:-1], k.shape[-2]))
    ids = agreed(call, "K", q.shape[-1], [q, k], [lead + "YK", lead + "XK"])
    call.ledger.blur(ids)
    axes = {}
    for d in range(ndim):
        sources = [x for x in ((v,) if d == ndim - 1 else (q,) if d == ndim - 2 else (q, k, v))]
        held = [x.along(d) for x in sources if x.shape[d] == call.shape[d]]
        for other in held[1:]:
            call.ledger.tie(held[0], other, f"meets fixed channels in {call.what}")
        axes[d] = next((x for x in held if (x != NONE).any()), nobody(call.shape[d]))
    for x in (k, v):
        call.ledger.fix(x.axes.get(ndim - 2), f"feeds {call.what} as a position")
    result = call.value(axes)
    heads = math.prod(call.shape[:-2]) // call.found.batch
    rows = (heads, q.shape[-2])
    call.layer("matmul", q, call_out, name=f"{call.name}.scores", cin=ids,
               cout=nobody(k.shape[-2]), in_hw=rows, out_hw=rows)  # fmt: skip
    call.layer("matmul", call_out, result, cin=nobody(k.shape[-2]), cout=axes[ndim - 1],
               in_hw=rows, out_hw=rows)  # fmt: skip
    return result


def multi_head(
    call: Call, query: Value, key: Value, value: Value, embed_dim_to_check: Any, num_heads: Any,
    in_proj_weight: Any, in_proj_bias: Any, bias_k: Any, bias_v: Any, add_zero_attn: Any,
    dropout_p: Any, out_proj_weight: Value, out_proj_bias: Any, *rest: Any, **options: Any,
) -> Any:  # fmt: skip
    """``nn.MultiheadAttention``, which stays as it is, with its products counted."""
    result = call.freeze(
        query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias, bias_k,
        bias_v, out_proj_weight, out_proj_bias, rest, list(options.values()),
        why=", attention of several heads, which stays as it is",
    )  # fmt: skip
    width, heads = out_proj_weight.shape[0], int(num_heads)
    long, short = query.shape[0], key.shape[0]
    for name, cin, cout, rows in (
        ("in_proj", width, width, (1, long + 2 * short)),
        ("scores", width // heads, short, (heads, long)),
        ("values", short, width // heads, (heads, long)),
        ("out_proj", width, width, (1, long)),
    ):
        call.layer("linear" if "proj" in name else "matmul", query, Value(query.shape),
                   name=f"{call.name}.{name}", cin=nobody(cin), cout=nobody(cout), in_hw=rows,
                   out_hw=rows)  # fmt: skip
    return result
