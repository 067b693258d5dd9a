"""A student's training in plain PyTorch, as a process that trains when it is told to.

The first argument is JSON: the layers of the student and of a teacher, as `layers`
in `live_teacher.py` lists them. Each line on stdin is JSON too: members (teachers asked
in every step; 0: the logits are there already), precision and views; the answer is
the number of views when they are trained on. Images are float32 in memory, standardised
already; channels last, and bfloat16 is PyTorch's autocast.
"""

import functools
import json
import os
import sys

CORES = 2
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

import torch  # noqa: E402
from torch import nn  # noqa: E402

BATCH, CLASSES = 128, 10


def network(layers: list[list]) -> nn.Module:
    """From rows such as ["conv", 3, 64, 3, true]."""
    made = []
    for kind, *sizes in layers:
        if kind == "conv":
            inputs, filters, side, relu = sizes
            made.append(nn.Conv2d(inputs, filters, side, padding="same"))
        elif kind == "dense":
            inputs, units, relu = sizes
            made.append(nn.Linear(inputs, units))
        else:
            made.append(nn.MaxPool2d(*sizes) if kind == "pool" else nn.Flatten())
            relu = False
        if relu:
            made.append(nn.ReLU())
    return nn.Sequential(*made).to(memory_format=torch.channels_last)


@functools.cache
def teachers(count: int) -> list[nn.Module]:
    layers = json.loads(sys.argv[1])["teacher"]
    return [network(layers).eval() for _ in range(count)]


@functools.cache
def data(views: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and logits."""
    images = torch.randn(views, 3, 32, 32)
    return images.to(memory_format=torch.channels_last), torch.randn(views, CLASSES)


@functools.cache
def trained(members: int, precision: str):
    """A function that trains on so many images."""
    student = network(json.loads(sys.argv[1])["student"]).train()
    update = torch.optim.SGD(student.parameters(), 1e-3, momentum=0.9, nesterov=True)
    asked = teachers(members)
    mixed = functools.partial(
        torch.autocast, "cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )

    def train(views: int) -> int:
        images, stored = data(views)
        for first in range(0, views, BATCH):
            batch, logits = images[first : first + BATCH], stored[first : first + BATCH]
            if asked:
                with torch.no_grad(), mixed():
                    logits = sum(each(batch).float() for each in asked) / members
            with mixed():
                answers = student(batch)
            loss = ((answers.float() - logits) ** 2).sum(1).mean()
            update.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 30.0)
            update.step()
        return views

    return train


def main() -> None:
    """Reads orders until stdin ends."""
    torch.manual_seed(0)
    torch.set_num_threads(CORES)
    student = network(json.loads(sys.argv[1])["student"])
    print(sum(each.numel() for each in student.parameters()), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        train = trained(order["members"], order["precision"])
        print(train(order["views"]), flush=True)


if __name__ == "__main__":
    main()
