"""Does a model file compute here what it computes in Python?

    python tests/gguf_check.py

Makes tiny Qwen2, Qwen3 and Llama models of random weights with `transformers`, writes them as GGUF (F32) with the `gguf`
package, each with a byte-level vocabulary trained on a few lines, and runs the Rust test that reads the files: the logits
of the last token must be within 1e-2 and the tokens of some texts the same. Llama's rows of queries and keys are reordered
as llama.cpp's converter does it. Needs torch, transformers, tokenizers, gguf and cargo.
"""

import inspect
import json
import os
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

LINES = [
    "SQ *BLUE BOTTLE 0412 OAKLAND CA", "AMZN Mktp US*2K4L81", "Shell Oil 57444 Chicago IL", "{\"category\": \"food\"}",
    "groceries, fuel, travel and food delivery", "Überweisung an Bäckerei Müller", "UBER   *TRIP HELP.UBER.COM 12345678",
]
TEXTS = LINES + ["It's   1234567\n\n  done ", "{\"answers\":[{\"id\":\"t1\",\"category\":\"food_delivery\"}]}", "🚕 taxi", ""]
LLAMA3 = inspect.signature(TikTokenConverter.__init__).parameters["pattern"].default
here = os.path.dirname(os.path.abspath(__file__))


def tokenizer(pattern):
    made = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(pattern), "isolated", invert=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(LINES * 3, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False))
    return made


def reordered(rows, heads):
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
WHOLE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def named(name):
    part, kind = name.rsplit(".", 1)
    if part in WHOLE:
        return f"{WHOLE[part]}.{kind}"
    _, _, layer, part = part.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def write(path, architecture, model, words, pre):
    config = model.config
    out = gguf.GGUFWriter(path, architecture)
    out.add_block_count(config.num_hidden_layers)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    theta = getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"]
    out.add_rope_freq_base(theta)
    if architecture == "qwen3":
        out.add_key_length(config.head_dim)
        out.add_value_length(config.head_dim)
    form = json.loads(words.to_str())["model"]
    tokens = sorted(form["vocab"], key=form["vocab"].get)
    marks = ["<|im_start|>", "<|im_end|>"]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(pre)
    out.add_token_list(tokens + marks)
    out.add_token_types([gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * len(marks))
    out.add_token_merges([" ".join(pair) if isinstance(pair, list) else pair for pair in form["merges"]])
    for name, tensor in model.state_dict().items():
        rows = tensor.float().numpy()
        if architecture == "llama" and ".q_proj." in name:
            rows = reordered(rows, config.num_attention_heads)
        if architecture == "llama" and ".k_proj." in name:
            rows = reordered(rows, config.num_key_value_heads)
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        out.add_tensor(named(name), np.ascontiguousarray(rows))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def case(folder, file, architecture, kind, config, pattern, pre):
    torch.manual_seed(3)
    words = tokenizer(pattern)
    config = config(
        vocab_size=words.get_vocab_size() + 2, hidden_size=64, intermediate_size=96, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, initializer_range=0.2,
        **({"head_dim": 24} if architecture == "qwen3" else {}), tie_word_embeddings=architecture == "qwen2",
    )
    model = kind(config).eval().float()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias") or "norm" in name:
                weight.add_(torch.randn_like(weight) * 0.2)
    write(os.path.join(folder, file), architecture, model, words, pre)
    tokens = torch.randint(0, config.vocab_size, (300,), generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        logits = model(input_ids=tokens[None]).logits[0, -1]
    texts = [[text, words.encode(text).ids] for text in TEXTS]
    return {"file": file, "tokens": tokens.tolist(), "logits": logits.tolist(), "texts": texts}


with tempfile.TemporaryDirectory() as folder:
    cases = [
        case(folder, "qwen2.gguf", "qwen2", Qwen2ForCausalLM, Qwen2Config, PRETOKENIZE_REGEX, "qwen2"),
        case(folder, "qwen3.gguf", "qwen3", Qwen3ForCausalLM, Qwen3Config, PRETOKENIZE_REGEX, "qwen2"),
        case(folder, "llama.gguf", "llama", LlamaForCausalLM, LlamaConfig, LLAMA3, "llama-bpe"),
    ]
    with open(os.path.join(folder, "cases.json"), "w", encoding="utf-8") as file:
        json.dump(cases, file)
    test = ["cargo", "test", "--test", "it", "--", "--ignored", "--exact", "--nocapture", "gguf::pythons_numbers_are_ours"]
    sys.exit(subprocess.call(test, cwd=os.path.dirname(here), env={**os.environ, "TXCAT_GGUF_CHECK_DIR": folder}))
