"""Converts a file of `torch.export.save` to ExecuTorch with XNNPACK. Arguments: program, file to write, facts."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> None:
    """Convert; the facts are JSON with the version and how many operators are delegated to XNNPACK."""
    program, made, facts = sys.argv[1:]
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower
    from executorch.version import __version__
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  # the conversions of networks in 8-bit integers

    with torch.no_grad():
        edge = to_edge_transform_and_lower(torch.export.load(program), partitioner=[XnnpackPartitioner()])
    info = get_delegation_info(edge.exported_program().graph_module)
    Path(made).write_bytes(edge.to_executorch().buffer)
    slow = {kind: count.non_delegated for kind, count in info.delegation_by_operator.items() if count.non_delegated}
    slow.pop("getitem", None)  # only picks an output of a delegated part
    known = {
        "version": __version__,
        "fast": info.num_delegated_nodes,
        "total": info.num_delegated_nodes + sum(slow.values()),
        "pieces": info.num_delegated_subgraphs,
        "slow": slow,
    }
    Path(facts).write_text(json.dumps(known))


if __name__ == "__main__":
    main()
