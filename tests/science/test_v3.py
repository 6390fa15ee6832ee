"""V3's functions, against torch's."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from mobilenets.science.v3 import nonlinearities


def test_the_hard_functions_are_torchs() -> None:
    x = nonlinearities.X
    tensor = torch.from_numpy(x)
    assert np.allclose(nonlinearities.hard_sigmoid(x), functional.hardsigmoid(tensor).numpy())
    assert np.allclose(x * nonlinearities.hard_sigmoid(x), functional.hardswish(tensor).numpy())
    assert np.allclose(nonlinearities.sigmoid(x), torch.sigmoid(tensor).numpy())
