"""Measure a GGUF file on the held-out items: exact match per task, and perplexity on stories.

    python evaluate.py ../spark-7m-q8_0.gguf [--eval ../eval] [--show 20] [--limit N] [--sample "Once upon a time"]

The weights are those of the file, dequantised; the arithmetic is float32. ../eval/README.md defines the measures.
"""

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from export import LAYER
from gguf_file import Reader
from model import Config, Llama, rotation
from tokenizer import build

END, STOP = 0, 2


class Spark:
    """The model and the tokenizer of a file."""

    def __init__(self, path, device):
        file = Reader(path)
        m, t = file.metadata, file.tensors
        config = Config(vocab=len(m["tokenizer.ggml.tokens"]), width=m["llama.embedding_length"], layers=m["llama.block_count"], heads=m["llama.attention.head_count"], kv_heads=m["llama.attention.head_count_kv"],
                        ffn=m["llama.feed_forward_length"], context=m["llama.context_length"], theta=m["llama.rope.freq_base"], eps=m["llama.attention.layer_norm_rms_epsilon"])
        weights = {"embedding": t["token_embd.weight"], "norm": t["output_norm.weight"]}
        weights |= {key: np.stack([t[f"blk.{i}.{name}.weight"] for i in range(config.layers)]) for name, key in LAYER.items()}
        self.model = Llama(config)
        self.model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        self.model.to(device).eval()
        self.device = device
        vocab = {token: i for i, token in enumerate(m["tokenizer.ggml.tokens"])}
        self.tokenizer = build(vocab, [tuple(merge.split(" ")) for merge in m["tokenizer.ggml.merges"]])
        self.special = {s: vocab[s] for s in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")}

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prompt(self, messages):
        """Token ids of a conversation up to the assistant's answer."""
        ids = [END]
        for m in messages:
            ids += [self.special["<|im_start|>"]] + self.encode(f"{m['role']}\n{m['content']}") + [STOP] + self.encode("\n")
        return ids + [self.special["<|im_start|>"]] + self.encode("assistant\n")

    def continue_all(self, prompts, temperature=0.0, limit=160, batch=32):
        return [self.tokenizer.decode(ids) for ids in self.model.generate(prompts, {END, STOP}, limit, temperature, batch)]

    @torch.inference_mode()
    def story_loss(self, text):
        """Sum of the negative log-likelihoods of a document's tokens and its end, and their number."""
        ids = torch.tensor([[END] + self.encode(text) + [END]], device=self.device)[:, :self.model.config.context]
        cos, sin = rotation(self.model.config, self.device)
        n = ids.shape[1] - 1
        attend = lambda layer, q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        logits = self.model.logits(self.model(ids[:, :-1], attend, cos[:n], sin[:n]))
        return F.cross_entropy(logits[0], ids[0, 1:], reduction="sum").item(), n


def correct(task, given, wanted):
    """Exact match, after removing white space around; JSON is compared as a value."""
    if task == "json":
        try:
            return json.loads(given) == json.loads(wanted)
        except ValueError:
            return False
    if task == "tool_call":
        body = lambda text: text.strip().removeprefix("<tool_call>").removesuffix("</tool_call>")
        return given.strip().startswith("<tool_call>") and correct("json", body(given), body(wanted))
    return given.strip() == wanted.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--eval", default=str(Path(__file__).parent.parent / "eval"))
    parser.add_argument("--show", type=int, default=0, help="print so many wrong answers of each task")
    parser.add_argument("--limit", type=int, help="at most so many items of each task")
    parser.add_argument("--sample", help="only continue this prompt a few times at temperature 0.8")
    parser.add_argument("--ask", help="only answer this message")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    spark = Spark(args.model, device)
    if args.sample:
        for text in spark.continue_all([[END] + spark.encode(args.sample)] * 4, 0.8, 400):
            print(args.sample + text + "\n")
        return
    if args.ask:
        print(spark.continue_all([spark.prompt([{"role": "user", "content": args.ask}])])[0])
        return

    by_task = defaultdict(list)
    for line in open(Path(args.eval, "heldout.jsonl")):
        item = json.loads(line)
        by_task[item["task"]].append(item)
    for task, items in by_task.items():
        items = items[:args.limit]
        answers = spark.continue_all([spark.prompt(i["messages"]) for i in items], batch=32 if device == "cuda" else 4)
        wrong = [(i, a) for i, a in zip(items, answers) if not correct(task, a, i["answer"])]
        print(f"{task:16} {len(items) - len(wrong):4} of {len(items):4}  {100 * (1 - len(wrong) / len(items)):5.1f} %", flush=True)
        for item, given in wrong[:args.show]:
            print("   ", json.dumps(item["messages"][-1]["content"][-150:]), "wanted", json.dumps(item["answer"]), "got", json.dumps(given))
    total, count = 0.0, 0
    for text in Path(args.eval, "heldout.txt").read_text().split("\n<|endoftext|>\n")[:args.limit]:
        if text.strip():
            loss, n = spark.story_loss(text.strip("\n"))
            total, count = total + loss, count + n
    print(f"perplexity {math.exp(total / count):.4f} over {count} tokens")


if __name__ == "__main__":
    main()
