//! Base encoder, LoRA adapters, training; nobody outside sees a tensor.
