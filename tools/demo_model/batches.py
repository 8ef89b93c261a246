"""Token files and the batches cut from them."""

import numpy as np
import torch
from tokenizer import BOS


class Batches:
    """Endless batches for training. Each epoch takes every book once and every story `story_repeat` times, shuffles
    these documents, joins them and cuts the stream into pieces of `length` tokens, which are shuffled too. The order
    depends on (seed, epoch) alone, so a position (epoch, index) is all that a checkpoint needs."""

    def __init__(self, folder, length, batch, seed, story_repeat, epoch=0, index=0):
        self.books, self.stories = np.load(folder / "books-train.npy"), np.load(folder / "stories-train.npy")
        self.length, self.batch, self.seed, self.story_repeat = length, batch, seed, story_repeat
        self._shuffle(epoch)
        self.index = index

    def _shuffle(self, epoch):
        rng = np.random.default_rng((self.seed, epoch))
        documents = documents_of(self.books) + documents_of(self.stories) * self.story_repeat
        self.stream = np.concatenate([documents[i] for i in rng.permutation(len(documents))])
        self.order = rng.permutation((len(self.stream) - 1) // self.length)
        self.epoch, self.index = epoch, 0

    def next(self):
        if self.index + self.batch > len(self.order):
            self._shuffle(self.epoch + 1)
        rows = self.order[self.index : self.index + self.batch]
        self.index += self.batch
        return cut(self.stream, rows * self.length, self.length)


def documents_of(tokens):
    return np.split(tokens, np.flatnonzero(tokens == BOS)[1:])


def cut(stream, starts, length):
    """Inputs and targets [len(starts), length]."""
    rows = torch.from_numpy(np.stack([stream[s : s + length + 1] for s in starts]).astype(np.int64))
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def windows(tokens, length, batch):
    """Held-out text in consecutive windows that share nothing but the boundary; the last incomplete one is dropped."""
    starts = np.arange((len(tokens) - 1) // length) * length
    for i in range(0, len(starts), batch):
        yield cut(tokens, starts[i : i + batch], length)
