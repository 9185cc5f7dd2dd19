"""A tiny Llama-like GGUF file with a vocabulary, shared keys and a chat template. Nothing here is a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf

from tests.foreign_texts import SPECIALS, learned_pairs
from tests.test_formats_gguf import CONFIG, random_weights, write

TOKENS, MERGES = learned_pairs()
END = 2
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
BEFORE, AFTER = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"  # what it writes around a message


def write_chatty(path: Path, template: str = TEMPLATE) -> Path:
    """The file; without a template where that is empty."""

    def vocabulary(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(TOKENS)
        writer.add_token_types([3 if token in SPECIALS else 1 for token in TOKENS])
        writer.add_token_merges([" ".join(pair) for pair in MERGES])
        writer.add_eos_token_id(END)
        if template:
            writer.add_chat_template(template)

    config = replace(CONFIG, vocab_size=len(TOKENS))
    weights = {name: 0.3 * value for name, value in random_weights(config).items()}
    return write(path, weights, config, prepare=vocabulary)
