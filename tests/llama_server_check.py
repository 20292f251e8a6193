"""Does our client speak with a server of chat completions that others wrote?

    python tests/llama_server_check.py

Writes a small Llama of random weights with a vocabulary of bytes as GGUF, serves it with llama.cpp's own server, which
xllamacpp holds as a prebuilt library (`pip install xllamacpp gguf`), on 127.0.0.1, and runs the Rust tests that ask it;
then kills the server and runs the one that asks nobody. Needs cargo too.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import gguf
import numpy as np
import xllamacpp

HIDDEN, INNER, LAYERS, HEADS, KEY_HEADS = 256, 512, 4, 8, 4
here = os.path.dirname(os.path.abspath(__file__))


def letters():
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    codes = {**{byte: byte for byte in own}, **{byte: 256 + at for at, byte in enumerate(others)}}
    return [chr(codes[byte]) for byte in range(256)]


def write(path):
    random = np.random.default_rng(11)
    out = gguf.GGUFWriter(path, "llama")
    tokens = letters() + ["th", "in", "<|im_start|>", "<|im_end|>"]
    out.add_vocab_size(len(tokens))
    out.add_block_count(LAYERS)
    out.add_context_length(4096)
    out.add_embedding_length(HIDDEN)
    out.add_feed_forward_length(INNER)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KEY_HEADS)
    out.add_rope_dimension_count(HIDDEN // HEADS)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("llama-bpe")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.NORMAL] * 258 + [gguf.TokenType.CONTROL] * 2)
    out.add_token_merges(["t h", "i n"])
    out.add_bos_token_id(258)
    out.add_eos_token_id(259)
    out.add_chat_template(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )

    def add(name, *shape):
        out.add_tensor(name, random.normal(0, 0.05, shape).astype(np.float32))

    def ones(name):
        out.add_tensor(name, np.ones(HIDDEN, np.float32))

    add("token_embd.weight", len(tokens), HIDDEN)
    add("output.weight", len(tokens), HIDDEN)
    ones("output_norm.weight")
    for layer in range(LAYERS):
        blk = f"blk.{layer}"
        ones(f"{blk}.attn_norm.weight")
        ones(f"{blk}.ffn_norm.weight")
        add(f"{blk}.attn_q.weight", HIDDEN, HIDDEN)
        add(f"{blk}.attn_k.weight", HIDDEN * KEY_HEADS // HEADS, HIDDEN)
        add(f"{blk}.attn_v.weight", HIDDEN * KEY_HEADS // HEADS, HIDDEN)
        add(f"{blk}.attn_output.weight", HIDDEN, HIDDEN)
        add(f"{blk}.ffn_gate.weight", INNER, HIDDEN)
        add(f"{blk}.ffn_up.weight", INNER, HIDDEN)
        add(f"{blk}.ffn_down.weight", HIDDEN, INNER)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def serve(path, port):
    params = xllamacpp.CommonParams()
    params.model.path, params.hostnames, params.port = path, ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = 4096, 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait(url, server):
    for _ in range(240):
        if server.poll() is not None:
            sys.exit(f"the server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/models", timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    sys.exit("the server does not answer")


def test(url, *filters):
    command = ["cargo", "test", "--test", "it", "--", "--ignored", "--nocapture", "--test-threads", "1", *filters]
    return subprocess.call(command, cwd=os.path.dirname(here), env={**os.environ, "TXCAT_LLAMA_URL": url})


if sys.argv[1:2] == ["--serve"]:
    serve(sys.argv[2], int(sys.argv[3]))
    sys.exit()

KILLED = "llama_server::a_server_that_was_killed_cannot_be_reached"
print(f"xllamacpp {xllamacpp.__version__}, {xllamacpp.BUILD_INFO}")
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "tiny.gguf")
    write(path)
    port = free_port()
    command = [sys.executable, os.path.abspath(__file__), "--serve", path, str(port)]
    url = f"http://127.0.0.1:{port}/v1"
    server = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        wait(url, server)
        failed = test(url, "llama_server::", "--skip", KILLED)
    finally:
        server.kill()
        server.wait()
    sys.exit(failed or test(url, KILLED, "--exact"))
