"""Runs a model for its shapes alone: the results of matrix products and convolutions are never computed.

An upstream of s3prl reads values of its tensors (lengths, masks, waveforms as arrays), so it runs neither on torch's
meta device nor on its fake tensors. Here everything before the first product is computed. A product, and every
operation on its result, gives zeros of the right shape that take no memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

_aten = torch.ops.aten
PRODUCTS = frozenset({_aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.convolution})


class ShapesOnly(TorchDispatchMode):
    """While this mode is active, results of products and everything that depends on them are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self._zeros: dict[torch.dtype, Tensor] = {}
        self._shapes: dict[Any, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves, structure = tree_flatten((args, kwargs))
        skipped = func.overloadpacket in PRODUCTS or any(map(self._is_blank, leaves))
        # a number read from a skipped result is zero, and a view of a skipped result counts as skipped
        if not skipped or func is _aten._local_scalar_dense.default or func.is_view:
            return func(*args, **kwargs)
        returned = func._schema.returns
        if returned and returned[0].alias_info is not None:  # the operation writes into an argument and returns it
            return _written(func, args, kwargs)
        call = (func, repr(structure), *map(_described, leaves))  # torch 2.6 cannot hash a structure
        if call not in self._shapes:  # torch infers a shape in Python, and most layers are alike
            try:
                self._shapes[call] = func(*_on_meta(args), **_on_meta(kwargs))
            except (NotImplementedError, RuntimeError):  # no shape without values: zeros are values too
                return func(*args, **kwargs)
        return tree_map_only(Tensor, self._blank, self._shapes[call])

    def _blank(self, like: Tensor) -> Tensor:
        if like.dtype not in self._zeros:
            self._zeros[like.dtype] = torch.zeros((), dtype=like.dtype)
        return self._zeros[like.dtype].expand(like.shape)

    def _is_blank(self, leaf: Any) -> bool:
        zero = self._zeros.get(leaf.dtype) if isinstance(leaf, Tensor) else None
        return zero is not None and leaf.untyped_storage().data_ptr() == zero.untyped_storage().data_ptr()


def _described(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype) if isinstance(leaf, Tensor) else (type(leaf), leaf)  # 1, 1.0 and True are equal


def _on_meta(values: Any) -> Any:
    return tree_map_only(Tensor, lambda tensor: torch.empty_like(tensor, device="meta"), values)


def _written(func: Any, args: Any, kwargs: Any) -> Any:
    """The argument into which an operation writes."""
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return kwargs[argument.name] if argument.name in kwargs else args[position]
    raise NotImplementedError(f"{func}: writes into none of its arguments")
