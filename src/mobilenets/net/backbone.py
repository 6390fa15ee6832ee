"""`Backbone`: a spec's rows as one module, with its feature maps by name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from mobilenets.errors import UnknownNameError
from mobilenets.net.blocks import BottleneckBlock, UniversalBlock, build_block, conv_block
from mobilenets.specs.rows import BackboneSpec, feature_maps, places
from mobilenets.table import Table


class Backbone(nn.Module):
    """A network up to its classifier.

    Args:
        spec: the network to build.
    """

    def __init__(self, spec: BackboneSpec) -> None:
        super().__init__()
        self.spec = spec
        last = max(len(spec.rows) - 1, 1)
        self.blocks = nn.ModuleList(
            build_block(place, spec, drop=spec.stochastic_depth * i / last) for i, place in enumerate(places(spec))
        )
        c_in = spec.c_out
        self.tail = nn.ModuleList()
        for row in spec.tail:
            self.tail.append(conv_block(c_in, row, spec))
            c_in = row.c_out

    def forward(self, x: Tensor) -> Tensor:
        """The last map, N C H W."""
        for block in self.blocks:
            x = block(x)
        return x

    def features(self, x: Tensor) -> Tensor:
        """The input of a classifier: the last map, pooled and passed through the tail, N C."""
        x = self.forward(x).mean((2, 3), keepdim=True)  # N C 1 1
        for layer in self.tail:
            x = layer(x)
        return x.flatten(1)

    def maps(self, x: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Feature maps by name, from one forward pass that stops at the deepest of them.

        Args:
            x: images, N C H W.
            names: names from `specs.rows.feature_maps`, such as `"s16"` or `"s32.expand"`.

        Raises:
            UnknownNameError: the backbone has no map of that name.
        """
        known = Table("feature map", feature_maps(self.spec))
        wanted: dict[int, list[str]] = {}
        for name in names:
            wanted.setdefault(known[name][0], []).append(name)
        maps: dict[str, Tensor] = {}
        for i, block in enumerate(self.blocks):
            if i > max(wanted, default=-1):
                break
            names_here = wanted.get(i, [])
            inner = [name for name in names_here if name.endswith(".expand")]
            if inner:
                if not isinstance(block, BottleneckBlock | UniversalBlock):
                    raise UnknownNameError(f"block {i} has no expansion")
                wide = block.expand(block.start(x) if isinstance(block, UniversalBlock) else x)
                maps.update(dict.fromkeys(inner, wide))
                x = block.from_expansion(wide, x)
            else:
                x = block(x)
            maps.update({name: x for name in names_here if name not in maps})
        return {name: maps[name] for name in names}
