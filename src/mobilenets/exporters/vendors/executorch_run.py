"""Runs an ExecuTorch file on batches. Argument: the file.

A batch on stdin is an `.npz` archive after its length in bytes, a number of 8 bytes; so are the outputs on stdout: "0", "1",
...
"""

from __future__ import annotations

import io
import os
import sys


def main() -> None:
    """Answer each batch until stdin ends."""
    # Output of libraries is redirected to stderr, so that stdout contains only answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import numpy as np
    import torch
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(sys.argv[1])
    method = program.load_method("forward")
    while length := int.from_bytes(sys.stdin.buffer.read(8), "little"):
        with np.load(io.BytesIO(sys.stdin.buffer.read(length)), allow_pickle=False) as given:
            outputs = method.execute([torch.from_numpy(given["batch"])])
        packed = io.BytesIO()
        np.savez(packed, **{str(i): output.numpy() for i, output in enumerate(outputs)})
        answers.write(len(packed.getvalue()).to_bytes(8, "little") + packed.getvalue())
        answers.flush()


if __name__ == "__main__":
    main()
