"""Train the tokenizer: byte-level BPE of 4,096 entries with the pre-tokenizer that llama.cpp calls "qwen2".

    python tokenizer.py out/tokenizer.json
"""

import random
import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import document, plain

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
SIZE = 4096


def build(vocab=None, merges=None):
    """The tokenizer, empty or from a vocabulary and its merges."""
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges) if vocab else models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def main():
    rng = random.Random(7)
    tokenizer = build()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, special_tokens=SPECIAL, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator((plain(document(rng)) for _ in range(60_000)), trainer)
    assert tokenizer.get_vocab_size() == SIZE
    tokenizer.save(sys.argv[1])


if __name__ == "__main__":
    main()
