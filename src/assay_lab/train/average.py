"""Average the weights of checkpoints that lie on one training path.

    python -m assay_lab.train.average OUT.pt A.pt B.pt ...

Wortsman et al., "Model soups" (2022); useful only for runs that started from
one another, since unrelated networks do not average.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


def average(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of every floating tensor; counters are those of the first state."""
    if not states:
        raise ValueError("no states to average")
    first = states[0]
    if any(s.keys() != first.keys() for s in states):
        raise ValueError("the checkpoints are of different networks")
    return {
        k: torch.stack([s[k] for s in states]).mean(0) if v.dtype.is_floating_point else v
        for k, v in first.items()
    }


def main(argv: list[str] | None = None) -> None:
    """Command line: read the moving averages of the checkpoints, write their mean."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("out", type=Path)
    p.add_argument("checkpoints", type=Path, nargs="+")
    a = p.parse_args(argv)
    states = [
        torch.load(c, map_location="cpu", weights_only=True)["average"] for c in a.checkpoints
    ]
    torch.save({"average": average(states)}, a.out)


if __name__ == "__main__":
    main()
