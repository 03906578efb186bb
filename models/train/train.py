"""Train the model for a number of seconds on rows that generator processes write while it trains.

    python train.py --seconds 500 --tokenizer out/tokenizer.json --out out [--resume out]

The learning rate is a function of the time used: it warms up, stays, and falls to zero at the end (the last `--decay`).
Matrices are trained with Muon, the embedding and the norms with AdamW. The state is saved as bf16 weights and momenta,
in files under 16 MB, so that a later run can resume.
"""

import argparse
import json
import multiprocessing as mp
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import corpus
from model import Config, Llama, rotation


def generator(number, processes, first, folder, tokenizer, stop):
    """Write packed rows, seed after seed, until told to stop."""
    os.nice(5)
    tokenizer = corpus.load_tokenizer(tokenizer)
    seed = first + number
    while not stop.is_set():
        name = os.path.join(folder, f"{seed}.npz")
        tokens, weights, docs = corpus.rows(seed, tokenizer)
        with open(name + ".tmp", "wb") as f:
            np.savez(f, tokens=tokens, weights=weights, docs=docs)
        os.rename(name + ".tmp", name)
        seed += processes


class Pool:
    """The rows so far, on the device. Every row is used once before any row is used again."""

    def __init__(self, folder, device, capacity):
        self.folder, self.device, self.size, self.at = folder, device, 0, 0
        self.tokens = torch.zeros(capacity, corpus.CONTEXT, dtype=torch.int16, device=device)
        self.weights = torch.zeros(capacity, corpus.CONTEXT, dtype=torch.uint8, device=device)
        self.docs = torch.zeros(capacity, corpus.CONTEXT, dtype=torch.uint8, device=device)
        self.again = 0

    def refill(self):
        """Take in what the generators have written."""
        for name in os.listdir(self.folder):
            if not name.endswith(".npz"):
                continue
            path = os.path.join(self.folder, name)
            with np.load(path) as f:
                n = min(len(f["tokens"]), len(self.tokens) - self.size)
                for mine, key in ((self.tokens, "tokens"), (self.weights, "weights"), (self.docs, "docs")):
                    mine[self.size:self.size + n] = torch.from_numpy(f[key][:n].astype(np.int16) if key == "tokens" else f[key][:n]).to(self.device)
            self.size += n
            os.remove(path)

    def batch(self, rows):
        """The next rows: new ones while there are any, then random old ones."""
        fresh = min(rows, self.size - self.at)
        index = torch.arange(self.at, self.at + fresh, device=self.device)
        self.at += fresh
        if fresh < rows:
            self.again += rows - fresh
            index = torch.cat((index, torch.randint(0, self.size, (rows - fresh,), device=self.device)))
        return self.tokens[index].long(), self.weights[index].float() / 20, self.docs[index]


def orthogonal(g):
    """The nearest semi-orthogonal matrices, by five steps of the Newton-Schulz iteration of Muon (Jordan et al., 2024)."""
    x = g.bfloat16()
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        b = -4.7750 * a + 2.0315 * (a @ a)
        x = 3.4445 * x + b @ x
    return x.mT if tall else x


class Optimizer:
    """Muon for the stacked matrices, AdamW for the rest. One step is one compiled function."""

    def __init__(self, model, device):
        names = dict(model.named_parameters())
        self.matrices = {n: p for n, p in names.items() if n in Llama.MATRICES}
        self.others = {n: p for n, p in names.items() if n not in Llama.MATRICES}
        self.state = {n: torch.zeros_like(p) for n, p in names.items()}
        self.square = {n: torch.zeros_like(p) for n, p in self.others.items()}
        self.count = 0
        self.muon = torch.compile(self._muon) if device == "cuda" else self._muon
        self.adam = torch.compile(self._adam) if device == "cuda" else self._adam

    @staticmethod
    def _muon(p, g, m, rate):
        m.lerp_(g, 0.05)
        update = orthogonal(g.lerp(m, 0.95)).float() * max(1.0, p.size(-2) / p.size(-1)) ** 0.5
        p.mul_(1 - rate * 0.05).add_(update * -rate)

    @staticmethod
    def _adam(p, g, m, s, rate, correct1, correct2):
        m.lerp_(g, 0.1)
        s.lerp_(g * g, 0.02)
        p.add_((m / correct1) / ((s / correct2).sqrt() + 1e-10) * -rate)

    @torch.no_grad()
    def step(self, rate, device):
        self.count += 1
        numbers = torch.tensor([0.02 * rate, 0.004 * rate, 1 - 0.9 ** self.count, 1 - 0.98 ** self.count])
        if device == "cuda":
            numbers = numbers.pin_memory().to(device, non_blocking=True)
        muon, adam, correct1, correct2 = numbers.unbind()
        for n, p in self.matrices.items():
            self.muon(p, p.grad, self.state[n], muon)
        for n, p in self.others.items():
            self.adam(p, p.grad, self.state[n], self.square[n], adam, correct1, correct2)
            p.grad = None
        for p in self.matrices.values():
            p.grad = None


def save(folder, model, optimizer, notes):
    """Weights and optimizer state, each a bf16 file."""
    os.makedirs(folder, exist_ok=True)
    half = lambda d: {k: v.detach().to(torch.bfloat16).cpu() for k, v in d.items()}
    torch.save({k: v.detach().half().cpu() for k, v in model.named_parameters()}, f"{folder}/weights.pt")
    torch.save(half(optimizer.state) | {"count": optimizer.count}, f"{folder}/momentum.pt")
    torch.save(half(optimizer.square), f"{folder}/square.pt")
    with open(f"{folder}/notes.json", "w") as f:
        json.dump(notes, f, indent=1)


def load(folder, model, optimizer):
    with torch.no_grad():
        for k, v in torch.load(f"{folder}/weights.pt").items():
            dict(model.named_parameters())[k].copy_(v)
        momentum = torch.load(f"{folder}/momentum.pt")
        optimizer.count = momentum.pop("count")
        for k, v in momentum.items():
            optimizer.state[k].copy_(v)
        for k, v in torch.load(f"{folder}/square.pt").items():
            optimizer.square[k].copy_(v)
    with open(f"{folder}/notes.json") as f:
        return json.load(f)


def schedule(done, warm, decay):
    """The factor of the learning rate when the share `done` of the time is used."""
    return min(1.0, done / warm if warm else 1.0, (1 - done) / decay)


def attention_cuda():
    """Attention within documents through FlexAttention: how to make a mask from document numbers, and how to attend with it."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    make = torch.compile(create_block_mask)

    def mask_of(docs):
        def same(b, h, q, k):
            return (q >= k) & (docs[b, q] == docs[b, k])
        return make(same, docs.shape[0], None, docs.shape[1], docs.shape[1], device="cuda")
    return mask_of, lambda mask: lambda layer, q, k, v: flex_attention(q, k, v, block_mask=mask, enable_gqa=True)


def attention_cpu():
    """The same with a dense mask."""
    return (lambda docs: (docs[:, None, :, None] == docs[:, None, None, :]).tril(),
            lambda mask: lambda layer, q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--decay", type=float, default=0.5, help="share of the time in which the rate falls to zero")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on all learning rates")
    parser.add_argument("--rows", type=int, default=64, help="rows of 2,048 tokens in a step")
    parser.add_argument("--tokenizer", default="out/tokenizer.json")
    parser.add_argument("--out", default="out")
    parser.add_argument("--resume")
    parser.add_argument("--processes", type=int, default=11)
    parser.add_argument("--prefill", type=int, default=2000, help="rows to wait for before the first step")
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, default=8)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")

    folder = f"/dev/shm/rows-{os.getpid()}"
    os.makedirs(folder)
    stop = mp.Event()
    workers = [mp.Process(target=generator, args=(i, args.processes, args.seed, folder, args.tokenizer, stop), daemon=True) for i in range(args.processes)]
    for w in workers:
        w.start()

    config = Config(layers=args.layers)
    model = Llama(config).to(device)
    optimizer = Optimizer(model, device)
    notes = load(args.resume, model, optimizer) if args.resume else {"tokens": 0, "seconds": 0.0, "steps": 0}
    cos, sin = rotation(config, device)
    mask_of, attend = attention_cuda() if device == "cuda" else attention_cpu()

    def loss_of(tokens, weights, mask):
        with torch.autocast(device, torch.bfloat16):
            logits = model.logits(model(tokens, attend(mask), cos, sin))
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")
        weights = weights[:, :-1].flatten()
        return (loss * weights).sum() / weights.sum()

    step_loss = torch.compile(loss_of, dynamic=False) if device == "cuda" else loss_of
    pool = Pool(folder, device, 1_500_000 if device == "cuda" else 20_000)
    while pool.size < args.prefill:
        time.sleep(0.2)
        pool.refill()
    print(f"{model.parameters_count():,} parameters, {pool.size} rows", flush=True)

    begin = time.time()
    steps = 0
    while True:
        now = time.time()
        done = (now - begin) / args.seconds
        if done >= 1:
            break
        if steps % 20 == 0:
            pool.refill()
        tokens, weights, docs = pool.batch(args.rows)
        loss = step_loss(tokens, weights, mask_of(docs))
        loss.backward()
        optimizer.step(args.rate * schedule(done, 0.02, args.decay), device)
        steps += 1
        if steps == 1:
            loss.item()
            begin = time.time()             # compilation does not count
        if steps % 20 == 0:
            loss.item()                     # waits for the device, so that the clock is true
        if steps % 500 == 0 or steps in (1, 20, 100):
            value, now = loss.item(), time.time()
            print(f"{now - begin:6.0f} s  step {steps}  loss {value:.4f}  {args.rows * corpus.CONTEXT * steps / (now - begin) / 1e6:.2f} M tokens/s  rows {pool.size}, used again {pool.again}", flush=True)
    if device == "cuda":
        torch.cuda.synchronize()
    stop.set()
    notes["tokens"] += steps * args.rows * corpus.CONTEXT
    notes["seconds"] += time.time() - begin
    notes["steps"] += steps
    notes["new_rows"] = notes.get("new_rows", 0) + pool.size
    notes["config"] = config.dict()
    save(args.out, model, optimizer, notes)
    print(json.dumps(notes), flush=True)
    for w in workers:
        w.terminate()
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))


if __name__ == "__main__":
    main()
