"""A student's training in plain PyTorch, as a process that trains when it is told to.

The first argument is JSON: the layers of the student and of a teacher, as `layers`
in `live_teacher.py` lists them. Each line on stdin is JSON too: members (teachers asked
in every step; 0: the logits are there already), precision, views, and whether
torchdistill's box trains instead of a plain loop; the answer is the number of views
when they are trained on. Images are float32 in memory, standardised already; channels
last, and bfloat16 is PyTorch's autocast.
"""

import functools
import importlib.util
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


class Mean(nn.ModuleList):
    """Of the members' logits."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return sum(each(images).float() for each in self) / len(self)


@functools.cache
def teachers(count: int) -> nn.Module:
    """The mean of so many."""
    layers = json.loads(sys.argv[1])["teacher"]
    return Mean(network(layers) for _ in range(count)).eval()


@functools.cache
def data(views: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and logits."""
    images = torch.randn(views, 3, 32, 32)
    return images.to(memory_format=torch.channels_last), torch.randn(views, CLASSES)


def autocast(precision: str):
    return functools.partial(
        torch.autocast, "cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"
    )


@functools.cache
def trained(members: int, precision: str, views: int):
    """A function that trains on so many images."""
    student = network(json.loads(sys.argv[1])["student"]).train()
    update = torch.optim.SGD(student.parameters(), 1e-3, momentum=0.9, nesterov=True)
    mixed = autocast(precision)
    images, stored = data(views)

    def train() -> None:
        for first in range(0, views, BATCH):
            batch, logits = images[first : first + BATCH], stored[first : first + BATCH]
            if members:
                with torch.no_grad(), mixed():
                    logits = teachers(members)(batch)
            with mixed():
                answers = student(batch)
            loss = ((answers.float() - logits) ** 2).sum(1).mean()
            update.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(student.parameters(), 30.0)
            update.step()

    return train


@functools.cache
def boxed(members: int, precision: str, views: int):
    """The same by torchdistill's box in the loop of its examples, teachers live."""
    from torchdistill.core.distillation import get_distillation_box

    student = network(json.loads(sys.argv[1])["student"])
    box = get_distillation_box(
        teachers(members),
        student,
        {"train": torch.utils.data.TensorDataset(*data(views))},
        BOX,
        torch.device("cpu"),
        None,
        False,
        1.0,
    )
    mixed = autocast(precision)

    def train() -> None:
        box.pre_epoch_process(epoch=0)
        for batch, targets, extra in box.train_data_loader:
            with mixed():
                loss = box.forward_process(batch, targets=targets, supp_dict=extra)
            box.post_forward_process(loss=loss)
        box.post_epoch_process()

    return train


def of(who: str) -> dict[str, object]:
    return {"is_from_teacher": who == "teacher", "module_path": ".", "io": "output"}


BOX = {  # torchdistill's configuration of one stage
    "num_epochs": 1,
    "train_data_loader": {
        "dataset_id": "train",
        "sampler": {"class_or_func": torch.utils.data.SequentialSampler},
        "kwargs": {"batch_size": BATCH},
    },
    "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False},
    "student": {"forward_proc": "forward_batch_only"},
    "optimizer": {
        "key": "SGD",
        "kwargs": {"lr": 1e-3, "momentum": 0.9, "nesterov": True},
        "max_grad_norm": 30.0,
    },
    "criterion": {
        "key": "WeightedSumLoss",
        "kwargs": {
            "sub_terms": {
                "logits": {
                    "criterion": {"key": "MSELoss", "kwargs": {}},
                    "criterion_wrapper": {
                        "key": "SimpleLossWrapper",
                        "kwargs": {"input": of("student"), "target": of("teacher")},
                    },
                    "weight": 1.0,
                }
            }
        },
    },
}


def main() -> None:
    """Tells the student's parameters and whether torchdistill is here; reads orders
    until stdin ends."""
    torch.manual_seed(0)
    torch.set_num_threads(CORES)
    student = network(json.loads(sys.argv[1])["student"])
    parameters = sum(each.numel() for each in student.parameters())
    box = importlib.util.find_spec("torchdistill") is not None
    print(json.dumps({"parameters": parameters, "torchdistill": box}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        make = boxed if order["torchdistill"] else trained
        make(order["members"], order["precision"], order["views"])()
        print(order["views"], flush=True)


if __name__ == "__main__":
    main()
