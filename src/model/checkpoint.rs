//! A checkpoint's tensors, read from the file one at a time: no weight lies in memory twice.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use safetensors::tensor::TensorInfo;
use serde_json::Value;

use super::{Error, tensors::decoded};

/// Where a model for a task keeps the encoder, in the Hugging Face naming.
const WITHIN: &str = "bert.";
/// Longest header that is believed, as in the safetensors crate.
const LONGEST_HEADER: u64 = 100_000_000;

/// An open `model.safetensors`.
pub(super) struct Checkpoint {
    path: PathBuf,
    file: fs::File,
    /// Where the tensors' bytes begin.
    start: u64,
    tensors: HashMap<String, TensorInfo>,
    prefix: &'static str,
}

impl Checkpoint {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { action: "read", path: path.to_owned(), source };
        let mut file = fs::File::open(path).map_err(failed)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(failed)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER {
            return Err(malformed(path, "its header is too long"));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let header: HashMap<String, Value> =
            serde_json::from_slice(&header).map_err(|source| malformed(path, source))?;
        let tensors = header
            .into_iter()
            .filter(|(name, _)| name != "__metadata__")
            .map(|(name, info)| Ok((name, serde_json::from_value(info).map_err(|source| malformed(path, source))?)))
            .collect::<Result<HashMap<String, TensorInfo>, Error>>()?;
        let prefix = if tensors.keys().any(|name| name.starts_with("bert.embeddings.")) { WITHIN } else { "" };
        Ok(Self { path: path.to_owned(), file, start: 8 + length, tensors, prefix })
    }

    /// The values of a tensor of floats, which must have the shape.
    pub(super) fn floats(&mut self, name: &str, sizes: &[usize]) -> Result<Vec<f32>, Error> {
        let name = format!("{}{name}", self.prefix);
        let info = self.tensors.get(&name).ok_or_else(|| malformed(&self.path, format!("{name} is missing")))?;
        if info.shape != sizes {
            let wrong = format!("{name} is {:?}, and config.json says {sizes:?}", info.shape);
            return Err(malformed(&self.path, wrong));
        }
        let (from, to) = info.data_offsets;
        let failed = |source| Error::File { action: "read", path: self.path.clone(), source };
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.start + from as u64)).map_err(failed)?;
        self.file.by_ref().take(to.saturating_sub(from) as u64).read_to_end(&mut bytes).map_err(failed)?;
        let values = decoded(info.dtype, &bytes).filter(|values| values.len() == sizes.iter().product::<usize>());
        values.ok_or_else(|| malformed(&self.path, format!("{name} is not whole, or of no floats")))
    }
}

fn malformed(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Malformed { path: path.to_owned(), what: "BERT checkpoint", source: source.into() }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;

    #[test]
    fn tensors_are_read_under_either_name_and_in_any_float_type() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let values = [1.5f32, -2.0, 0.25, 8.0];
        for (prefix, dtype) in [("", DType::F32), ("bert.", DType::F16), ("bert.", DType::BF16)] {
            let tensor = Tensor::from_slice(&values, (2, 2), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let other = Tensor::zeros(3, DType::U8, &Device::Cpu).unwrap();
            let name = format!("{prefix}embeddings.weight");
            candle_core::safetensors::save(&HashMap::from([(name, tensor), ("bytes".into(), other)]), &path).unwrap();
            let mut checkpoint = Checkpoint::open(&path).unwrap();
            assert_eq!(checkpoint.floats("embeddings.weight", &[2, 2]).unwrap(), values);
            let mut because = |name: &str, sizes: &[usize]| match checkpoint.floats(name, sizes) {
                Err(Error::Malformed { source, .. }) => source.to_string(),
                other => panic!("{other:?}"),
            };
            assert!(because("embeddings.weight", &[4]).contains("[2, 2]"));
            assert!(because("embeddings.bias", &[2]).contains("missing"));
            let why = because("bytes", &[3]);
            assert!(why.contains(if prefix.is_empty() { "of no floats" } else { "missing" }), "{why}");
        }
    }

    #[test]
    fn a_file_that_ends_early_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let tensor = Tensor::zeros(64, DType::F32, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&HashMap::from([("x".to_owned(), tensor)]), &path).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 8]).unwrap();
        assert!(matches!(Checkpoint::open(&path).unwrap().floats("x", &[64]), Err(Error::Malformed { .. })));
        fs::write(&path, [255; 64]).unwrap();
        assert!(Checkpoint::open(&path).is_err());
    }
}
