//! What of an adapter trains, and what of its encoder stays frozen.

use serde::{Deserialize, Serialize};

/// A way to fine-tune. Each trains the head too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Low-rank differences to frozen linear layers.
    #[default]
    Lora,
    /// The same beside linear layers that are kept in 4 bits (NF4), in training and in service.
    Qlora,
    /// Every weight of the encoder.
    Full,
    /// Nothing of the encoder: the floor that the others must beat.
    Head,
}

/// Every [`Method`], the cheapest first.
pub const METHODS: [Method; 4] = [Method::Head, Method::Lora, Method::Qlora, Method::Full];

impl Method {
    /// As it is written on the command line and in `txcat.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lora => "lora",
            Self::Qlora => "qlora",
            Self::Full => "full",
            Self::Head => "head",
        }
    }

    /// Learning rate of what trains beside the head: weights that mean something already want smaller steps.
    #[must_use]
    pub fn learning_rate(self) -> f32 {
        match self {
            Self::Full => 1e-4,
            Self::Lora | Self::Qlora | Self::Head => 1e-3,
        }
    }

    /// Most passes over the rows. The head's cost nothing, because the encoder's vectors are kept.
    #[must_use]
    pub fn epochs(self) -> usize {
        match self {
            Self::Head => 40,
            Self::Lora | Self::Qlora | Self::Full => 3,
        }
    }

    /// Whether the encoder's linear layers are kept in NF4.
    #[must_use]
    pub fn quantizes(self) -> bool {
        self == Self::Qlora
    }

    /// Whether there are low-rank differences.
    pub(super) fn has_pairs(self) -> bool {
        matches!(self, Self::Lora | Self::Qlora)
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
