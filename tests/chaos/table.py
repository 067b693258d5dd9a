"""The verbs that work long enough to be killed; a new one is a line here."""

from dataclasses import dataclass

_STUDENT = (
    "student --budget 2000 --convs 1 --schedule cosine --epochs 2 --batch-size 16"
)
_TEACHER = "teacher --filters 4,4,6 --dense 8 --schedule cosine --epochs 2"
_BORN_AGAIN = "born-again --arch wide-resnet-10-1 --epochs 2 --batch-size 16"
_LANGUAGE_MODEL = (
    "language-model --data-dir {text} --size small --layers 1 --born-again --epochs 2 "
    "--window 5 --batch-size 4"
)
_PRECOMPUTE = "precompute --teacher {teacher} --passes 2"


@dataclass(frozen=True)
class Verb:
    """A command line with `Inputs` in braces. Where `counted`, all its writing is done
    in the process itself, which can be killed at every change of the disk: one of them
    in `one_in` is tried."""

    line: str
    counted: bool = True
    one_in: int = 1


VERBS = {
    "teacher": Verb(f"{_TEACHER} --batch-size 16"),
    "baseline": Verb(f"baseline {_STUDENT.removeprefix('student ')}", one_in=4),
    "ensemble": Verb("ensemble --teacher {teacher} --select all"),
    "precompute": Verb(f"{_PRECOMPUTE} --direct_running_mode in_memory"),
    "precompute, replay": Verb(
        f"{_PRECOMPUTE} --store replay --keep-members --direct_running_mode in_memory"
    ),
    "precompute, 1 worker": Verb(f"{_PRECOMPUTE} --workers 1", counted=False),
    "precompute, 2 workers": Verb(f"{_PRECOMPUTE} --workers 2", counted=False),
    "student": Verb(f"{_STUDENT} --distillation-set {{images}}"),
    "student, replay": Verb(
        f"{_STUDENT} --distillation-set {{replay}} --resident always", one_in=4
    ),
    "chain": Verb(
        f"{_STUDENT} --teacher {{teacher}} --passes 2 --store replay", counted=False
    ),
    "search": Verb(
        f"{_STUDENT} --distillation-set {{images}} --trials 2 --oracle random",
        one_in=4,
    ),
    "born-again": Verb(f"{_BORN_AGAIN} --generations 2", one_in=40),
    "born-again, stored": Verb(
        f"{_BORN_AGAIN} --loss cwtm --teacher-signal stored", counted=False
    ),
    "language-model": Verb(f"{_LANGUAGE_MODEL} --generations 2", one_in=40),
    "language-model, stored": Verb(
        f"{_LANGUAGE_MODEL} --teacher-signal stored --store-top-k 8", one_in=20
    ),
    "export": Verb("export {teacher} --name small"),
}
