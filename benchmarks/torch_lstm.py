"""PyTorch's word-language-model example as a process that trains when it is told to.

Each line on stdin is a number of steps; the answer is a line of JSON: words, seconds of
the clock and of the cores' work. Its network, loss, clipping and update are those of
pytorch/examples, word_language_model (tied weights, dropout 0.2).
"""

import json
import os
import sys
import time

CORES = 2
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])

import torch  # noqa: E402
from torch import nn  # noqa: E402

WORDS, STREAMS, WINDOW = map(int, sys.argv[2:])


class Network(nn.Module):
    """Embedding, two layers of nn.LSTM, the embedding again."""

    def __init__(self, units: int):
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder = nn.Embedding(WORDS, units)
        self.rnn = nn.LSTM(units, units, 2, dropout=0.2)
        self.decoder = nn.Linear(units, WORDS)
        self.decoder.weight = self.encoder.weight
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)

    def forward(self, ids, hidden):
        """Log-probabilities [T * B, V] and the state."""
        output, hidden = self.rnn(self.drop(self.encoder(ids)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, WORDS)
        return torch.log_softmax(decoded, dim=1), hidden


def main() -> None:
    """Reads numbers of steps until stdin ends."""
    units = int(sys.argv[1])
    torch.manual_seed(0)
    torch.set_num_threads(CORES)
    network, criterion = Network(units).train(), nn.NLLLoss()
    text = torch.randint(0, WORDS, (8 * WINDOW + 1, STREAMS))
    hidden = tuple(torch.zeros(2, STREAMS, units) for _ in range(2))
    for line in sys.stdin:
        clock, work = time.perf_counter(), time.process_time()
        for step in range(int(line)):
            at = step % 8 * WINDOW
            targets = text[at + 1 : at + 1 + WINDOW].reshape(-1)
            network.zero_grad()
            hidden = tuple(state.detach() for state in hidden)
            output, hidden = network(text[at : at + WINDOW], hidden)
            loss = criterion(output, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 0.25)
            for parameter in network.parameters():
                parameter.data.add_(parameter.grad, alpha=-1.0)
            loss.item()
        told = {
            "words": int(line) * STREAMS * WINDOW,
            "seconds": time.perf_counter() - clock,
            "core_seconds": time.process_time() - work,
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
