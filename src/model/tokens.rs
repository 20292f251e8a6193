//! Texts to token ids, with the base encoder's own tokenizer.

use std::path::Path;

use super::Error;

/// Texts are cut here: long enough for any enriched statement line, short enough for a bounded batch.
pub(super) const MAX_TOKENS: usize = 96;

/// The base encoder's tokenizer, with truncation and without padding.
#[derive(Debug, Clone)]
pub(super) struct Tokenizer(tokenizers::Tokenizer);

impl Tokenizer {
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let malformed = |source| Error::Malformed { path: path.to_owned(), what: "tokenizer", source };
        let mut tokenizer = tokenizers::Tokenizer::from_file(path).map_err(malformed)?;
        let truncation = tokenizers::TruncationParams { max_length: MAX_TOKENS, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(malformed)?;
        tokenizer.with_padding(None);
        Ok(Self(tokenizer))
    }

    /// The highest id that a text can have.
    pub(super) fn last(&self) -> u32 {
        self.0.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Token ids of each text, `[CLS]` and `[SEP]` included: at least 2, at most [`MAX_TOKENS`].
    pub(super) fn encode<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Vec<u32>>, Error> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let encodings = self.0.encode_batch_fast(texts, true).map_err(Error::Tokenize)?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }
}
