"""One command for each verb, as its help and the documentation show it."""

_RUN = "python -m kerasdistill.cli"
_SET = "runs/precompute-…/distillation_set"

EXAMPLES = {
    "student": f"""{_RUN} student --teacher mine.keras --dataset folder:photos \\
    --budget 250k --convs 3 --quick""",
    "teacher": f"{_RUN} teacher --fast",
    "ensemble": f"{_RUN} ensemble --teacher a.keras b.keras c.keras --select greedy",
    "precompute": f"""{_RUN} precompute --teacher mine.keras --dataset folder:photos \\
    --passes 10 --store replay""",
    "verify": f"{_RUN} verify {_SET} --sample 1024",
    "baseline": f"""{_RUN} baseline --dataset folder:photos --budget 250k --convs 3 \\
    --epochs 10 --schedule cosine""",
    "born-again": f"""{_RUN} born-again --arch wide-resnet-28-1 --dataset cifar100 \\
    --generations 3 --loss ban+l""",
    "language-model": f"{_RUN} language-model --size small --data-dir ptb --born-again",
    "evaluate": f"{_RUN} evaluate runs/student-…/model.keras",
    "export": f"""{_RUN} export runs/student-…/model.keras --format litert onnx \\
    --name flowers""",
    "inspect": f"{_RUN} inspect runs/student-… --teacher mine.keras",
    "report": f"{_RUN} report --html report.html",
    "runs": f"{_RUN} runs list",
    "doctor": f"{_RUN} doctor",
    "reproduce": f"{_RUN} reproduce urban-table-2 --scale 0.1 --plan",
    "completion": "source <(kerasdistill completion bash)",
    "summary": f"{_RUN} summary student --budget 31.6M --convs 4",
}
