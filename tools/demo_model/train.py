"""Trains the demo model. Resumable: the same command continues from the checkpoint in --out.

    python train.py --data DATA --out RUN --minutes 90
    python train.py --data DATA --out RUN --steps 4000 --device cuda

The learning rate warms up, stays, and falls to zero in the last part (--decay-minutes or --decay-steps before the
end), so a run may be continued from RUN/stable.pt, which is the checkpoint from before the fall. To end a run early,
interrupt it (it saves) and resume with the decay as all that is left: --minutes 20 --decay-minutes 20.
"""

import argparse
import json
import os
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import optim
import torch
from batches import Batches, windows
from evaluate import held_out
from model import Config, Mixtral, swiglu

# What glibc and OpenMP need on a CPU: keep freed memory (fresh pages cost more than the arithmetic) in huge pages, and
# threads that wait for each other without burning a core that others use.
CPU_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(10**11),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "GOMP_SPINCOUNT": "20000",
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by data.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, help="stop after so many minutes from now")
    parser.add_argument("--stop-at", help="stop at this local time, HH:MM")
    parser.add_argument("--steps", type=int, help="stop at this step (counted from the very start)")
    parser.add_argument("--decay-minutes", type=float, default=20.0, help="the learning rate falls over this time")
    parser.add_argument("--decay-steps", type=int, default=500, help="the same with --steps")
    parser.add_argument("--pause-file", type=Path, help="wait between steps while this file exists")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--length", type=int, default=256, help="tokens of a training sequence")
    parser.add_argument("--decay-length", type=int, default=512, help="the same while the learning rate falls")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=100, help="steps")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--balance", type=float, default=0.05, help="weight of the load-balancing loss")
    parser.add_argument("--story-repeat", type=int, default=4, help="how often an epoch shows each story")
    parser.add_argument("--layers", type=int, default=Config.num_hidden_layers)
    parser.add_argument("--eval-every", type=int, default=250, help="steps")
    parser.add_argument("--save-every", type=int, default=100, help="steps")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-compile", action="store_true", help="do not use torch.compile")
    args = parser.parse_args()
    if sum(x is not None for x in (args.minutes, args.stop_at, args.steps)) != 1:
        parser.error("give one of --minutes, --stop-at, --steps")
    return args


class Schedule:
    """How much of the learning rate applies now, and when to stop."""

    def __init__(self, args):
        self.args, self.end = args, None
        if args.minutes is not None:
            self.end = time.time() + 60 * args.minutes
        elif args.stop_at:
            hour, minute = map(int, args.stop_at.split(":"))
            end = datetime.now().replace(hour=hour, minute=minute, second=0)
            self.end = (end if end > datetime.now() else end + timedelta(days=1)).timestamp()

    def left(self, step):
        """What is left of the run in units of the decay: below 1 the learning rate falls, at 0 the run ends."""
        if self.end is None:
            return (self.args.steps - step) / max(1, self.args.decay_steps)
        return (self.end - time.time()) / (60 * max(1e-3, self.args.decay_minutes))

    def factor(self, step):
        return min(1.0, (step + 1) / self.args.warmup, max(0.0, self.left(step)))


def save(path, state):
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


class Run:
    def __init__(self, args):
        self.args = args
        torch.manual_seed(args.seed)
        self.model = Mixtral(Config(num_hidden_layers=args.layers)).to(args.device)
        self.optimizers = optim.build(self.model, args.lr, args.weight_decay)
        self.step, self.tokens, self.seconds, self.decaying = 0, 0, 0.0, False
        self.path, epoch, index = args.out / "checkpoint.pt", 0, 0
        if self.path.exists():
            state = torch.load(self.path, map_location=args.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(saved)
            self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
            self.decaying, epoch, index = state["decaying"], state["epoch"], state["index"]
        self.open_batches(epoch, index)
        rows = args.batch_tokens // args.length
        valid = {kind: np.load(args.data / f"{kind}-valid.npy") for kind in ("stories", "books")}
        self.held_out = {kind: list(windows(v, args.length, rows))[:6] for kind, v in valid.items()}
        if not args.no_compile:
            for layer in self.model.layers:
                layer.self_attn.compile(dynamic=False)
                layer.input_layernorm.compile(dynamic=False)
                layer.post_attention_layernorm.compile(dynamic=False)
                layer.block_sparse_moe.activation = torch.compile(swiglu, dynamic=True)

    def open_batches(self, epoch, index):
        length = self.args.decay_length if self.decaying else self.args.length
        self.batches = Batches(self.args.data, length, self.args.batch_tokens // length, self.args.seed,
                               self.args.story_repeat, epoch, index)

    def save(self, path):
        save(path, {
            "config": self.model.cfg.as_dict(), "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers], "step": self.step, "tokens": self.tokens,
            "seconds": self.seconds, "decaying": self.decaying, "epoch": self.batches.epoch,
            "index": self.batches.index,
        })

    def begin_decay(self):
        self.save(self.args.out / "stable.pt")
        self.decaying = True
        self.open_batches(self.batches.epoch + 1, 0)

    def train_step(self, factor):
        ids, targets = (t.to(self.args.device) for t in self.batches.next())
        with torch.autocast(self.args.device, dtype=torch.bfloat16):
            loss, balance = self.model.loss(ids, targets)
        (loss + self.args.balance * balance).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.args.lr * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.tokens += ids.numel()
        return loss.item(), balance.item(), self.model.expert_counts()

    def evaluate(self):
        return {k: round(held_out(self.model, v, self.args.device)[0], 4) for k, v in self.held_out.items()}


def wait_while(path):
    while path is not None and path.exists():
        time.sleep(1)


def log(args, **values):
    line = json.dumps({"time": time.strftime("%H:%M:%S"), **values})
    print(line, flush=True)
    with open(args.out / "log.jsonl", "a") as f:
        f.write(line + "\n")


def loop(args, run, schedule):
    losses, counts, since, tokens, interrupts = [], 0, time.time(), run.tokens, []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: interrupts.append(1))
    while schedule.left(run.step) > 0 and not interrupts:
        wait_while(args.pause_file)
        if not run.decaying and schedule.left(run.step) < 1:
            run.begin_decay()
        start = time.time()
        factor = schedule.factor(run.step)
        loss, balance, used = run.train_step(factor)
        run.seconds += time.time() - start
        losses.append(loss)
        counts = counts + used
        if run.step % 20 == 0:
            share = counts / counts.sum(-1, keepdim=True)
            log(args, step=run.step, tokens=run.tokens, epoch=run.batches.epoch,
                loss=round(sum(losses) / len(losses), 4), balance=round(balance, 4),
                experts=[round(share.min().item(), 3), round(share.max().item(), 3)], lr=round(args.lr * factor, 6),
                per_second=round((run.tokens - tokens) / (time.time() - since)))
            losses, counts, since, tokens = [], 0, time.time(), run.tokens
        if run.step % args.eval_every == 0:
            log(args, step=run.step, minutes=round(run.seconds / 60, 1), held_out=run.evaluate())
        if run.step % args.save_every == 0:
            run.save(run.path)
    run.save(run.path)
    if interrupts:
        return
    log(args, done=True, step=run.step, tokens=run.tokens, minutes=round(run.seconds / 60, 1), held_out=run.evaluate())


def main():
    args = arguments()
    if args.device == "cpu" and sys.platform == "linux" and any(k not in os.environ for k in CPU_ENVIRONMENT):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**CPU_ENVIRONMENT, **os.environ})
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    loop(args, Run(args), Schedule(args))


if __name__ == "__main__":
    main()
