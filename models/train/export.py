"""Write trained weights as a GGUF file.

    python export.py out --tokenizer out/tokenizer.json --type q8_0 --to spark-7m-q8_0.gguf
"""

import argparse
import json
from pathlib import Path

import torch

import gguf_file as gguf
from model import Config

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
NORMAL, CONTROL = 1, 3
LAYER = {"attn_q": "wq", "attn_k": "wk", "attn_v": "wv", "attn_output": "wo", "ffn_gate": "gate", "ffn_up": "up", "ffn_down": "down", "attn_norm": "attn_norm", "ffn_norm": "ffn_norm"}


def metadata(config, tokenizer, kind):
    """Every key of the file, in order."""
    tokens = sorted(tokenizer["model"]["vocab"].items(), key=lambda t: t[1])
    special = {t["content"] for t in tokenizer["added_tokens"]}
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    ids = dict(tokens)
    template = Path(__file__).with_name("chat_template.jinja").read_text().rstrip("\n")
    text = lambda key, v: (key, gguf.STRING, v)
    number = lambda key, v: (key, gguf.U32, v)
    return [
        text("general.architecture", "llama"), text("general.type", "model"), text("general.name", "spark"), text("general.author", "inferno"), text("general.size_label", "7M"),
        text("general.license", "mit"), text("general.description", "The model built into inferno, trained from scratch on generated text"), ("general.languages", gguf.ARRAY, (gguf.STRING, ["en"])),
        number("general.file_type", FILE_TYPES[kind]), number("general.quantization_version", 2),
        number("llama.context_length", config.context), number("llama.embedding_length", config.width), number("llama.block_count", config.layers), number("llama.feed_forward_length", config.ffn),
        number("llama.attention.head_count", config.heads), number("llama.attention.head_count_kv", config.kv_heads), number("llama.rope.dimension_count", config.head), number("llama.vocab_size", config.vocab),
        ("llama.attention.layer_norm_rms_epsilon", gguf.F32, config.eps), ("llama.rope.freq_base", gguf.F32, config.theta),
        text("tokenizer.ggml.model", "gpt2"), text("tokenizer.ggml.pre", "qwen2"),
        ("tokenizer.ggml.tokens", gguf.ARRAY, (gguf.STRING, [t for t, _ in tokens])),
        ("tokenizer.ggml.token_type", gguf.ARRAY, (gguf.I32, [CONTROL if t in special else NORMAL for t, _ in tokens])),
        ("tokenizer.ggml.merges", gguf.ARRAY, (gguf.STRING, merges)),
        number("tokenizer.ggml.bos_token_id", ids["<|endoftext|>"]), number("tokenizer.ggml.eos_token_id", ids["<|endoftext|>"]), number("tokenizer.ggml.eot_token_id", ids["<|im_end|>"]),
        number("tokenizer.ggml.padding_token_id", ids["<|pad|>"]), ("tokenizer.ggml.add_bos_token", gguf.BOOL, True), ("tokenizer.ggml.add_eos_token", gguf.BOOL, False),
        text("tokenizer.chat_template", template),
    ]


def tensors(config, weights, kind):
    """Tensors by llama.cpp's names: norms as f32, matrices in the given type. The output is tied to the embedding."""
    weights = {k: v.float().numpy() for k, v in weights.items()}
    matrix = gguf.TENSOR_TYPES[kind]
    out = [("token_embd.weight", weights["embedding"], matrix)]
    for i in range(config.layers):
        out += [(f"blk.{i}.{name}.weight", weights[key][i], gguf.TENSOR_F32 if "norm" in name else matrix) for name, key in LAYER.items()]
    return out + [("output_norm.weight", weights["norm"], gguf.TENSOR_F32)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="folder that train.py wrote")
    parser.add_argument("--tokenizer", default="out/tokenizer.json")
    parser.add_argument("--type", choices=FILE_TYPES, default="q8_0")
    parser.add_argument("--to", required=True)
    args = parser.parse_args()
    config = Config(**json.loads(Path(args.run, "notes.json").read_text())["config"])
    weights = torch.load(Path(args.run, "weights.pt"))
    gguf.write(args.to, metadata(config, json.loads(Path(args.tokenizer).read_text()), args.type), tensors(config, weights, args.type))


if __name__ == "__main__":
    main()
