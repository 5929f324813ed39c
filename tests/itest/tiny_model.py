"""A language model of random weights that llama.cpp loads in milliseconds and that talks in plain words.

In:      the path to write.
Out:     one GGUF file of 0.6 MB: llama architecture, SentencePiece-like vocabulary, a chat template.
Units:   none. The weights come from a fixed seed, so the same source writes the same model.
Limits:  it says nothing that makes sense; a context of 8,192 tokens; one token per byte of the prompt.
         It never ends by itself: an answer ends at `max_tokens`, at a `stop` string, or at the context's end,
         unless the request biases the end token (`"logit_bias": [[2, 100]]`), which gives an empty answer.
Errors:  whatever the file system raises.
Source:  the tensor names and keys that llama.cpp `src/llama-arch.cpp` reads for `llama`.
"""

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

CONTEXT = 8192
LAYERS = 2
HEADS = 4
WIDTH = 64
INNER = 128

TEXT = """
the of and a to in is you that it he was for on are as with his they at be this have from or one had by word but not
what all were we when your can said there use an each which she do how their if will up other about out many then them
these so some her would make like him into time has look two more write go see number no way could people my than
first water been call who oil its now find long down day did get come made may part over new sound take only little
work know place year live me back give most very after thing our just name good sentence man think say great where
help through much
"""
WORDS = TEXT.split()

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"

CONTROL = ("<unk>", "<s>", "</s>")  # ids 0, 1 and 2
VOCABULARY = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), *(f"\u2581{word}" for word in WORDS)]
TOKEN_TYPES = [
    gguf.TokenType.UNKNOWN,
    *[gguf.TokenType.CONTROL] * 2,
    *[gguf.TokenType.BYTE] * 256,
    *[gguf.TokenType.NORMAL] * len(WORDS),
]


def write(path: Path) -> None:
    """Write the model to `path`, replacing what is there."""
    out = gguf.GGUFWriter(path, "llama")
    out.add_name("tiny-random")
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model("llama")
    out.add_token_list(VOCABULARY)
    out.add_token_scores([0.0] * len(VOCABULARY))
    out.add_token_types(TOKEN_TYPES)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_chat_template(TEMPLATE)
    for name, tensor in _tensors().items():
        out.add_tensor(f"{name}.weight", tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _tensors() -> dict[str, NDArray[np.float32]]:
    dice = np.random.default_rng(7)

    def noise(*shape: int, scale: float = 0.1) -> NDArray[np.float32]:
        return (dice.standard_normal(shape) * scale).astype(np.float32)

    # Column 0 is the same large number in every embedding and survives the layers, so it works as the bias that
    # the architecture lacks: every word is far likelier than a raw byte or a control token.
    embedding, output = noise(len(VOCABULARY), WIDTH, scale=1.0), noise(len(VOCABULARY), WIDTH, scale=0.5)
    embedding[:, 0] = 8.0
    output[:, 0] = -4.0
    output[len(VOCABULARY) - len(WORDS) :, 0] = 4.0
    tensors = {"token_embd": embedding, "output_norm": np.ones(WIDTH, np.float32), "output": output}
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"{block}.{name}"] = np.ones(WIDTH, np.float32)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors[f"{block}.{name}"] = noise(WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            tensors[f"{block}.{name}"] = noise(INNER, WIDTH)
        tensors[f"{block}.ffn_down"] = noise(WIDTH, INNER)
    return tensors
