//! Tensors in files, one element type and one place at a time.

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::Error;

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::File { action: "read", path: path.to_owned(), source })
}

/// A tensor to be written.
pub(super) struct Blob {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

pub(super) fn blob<const N: usize, T: Copy>(
    dtype: Dtype,
    shape: &[usize],
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> Blob {
    Blob { dtype, shape: shape.to_vec(), bytes: values.iter().flat_map(|value| bytes(*value)).collect() }
}

pub(super) fn floats(shape: &[usize], values: &[f32]) -> Blob {
    blob(Dtype::F32, shape, values, f32::to_le_bytes)
}

/// Writes a safetensors file that PyTorch reads.
pub(super) fn write_tensors(path: &Path, blobs: &BTreeMap<String, Blob>) -> Result<(), Error> {
    let malformed = |source: safetensors::SafeTensorError| Error::Malformed {
        path: path.to_owned(),
        what: "set of tensors",
        source: source.into(),
    };
    let views = blobs
        .iter()
        .map(|(name, blob)| Ok((name.as_str(), TensorView::new(blob.dtype, blob.shape.clone(), &blob.bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(malformed)?;
    let metadata = std::collections::HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(malformed)
}

/// Values of 16- or 32-bit floats; nothing of another element type.
pub(super) fn decoded(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F32 => Some(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
        Dtype::F16 => Some(bytes.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect()),
        Dtype::BF16 => {
            Some(bytes.as_chunks().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect())
        }
        _ => None,
    }
}

/// The tensors of one file.
pub(super) struct Tensors<'a> {
    pub(super) path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> Tensors<'a> {
    pub(super) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|source| malformed(path, source.into()))?;
        Ok(Self { path, tensors })
    }

    pub(super) fn values<const N: usize, T>(
        &self,
        name: &str,
        dtype: Dtype,
        of: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Error> {
        let tensor = self.tensors.tensor(name).map_err(|source| malformed(self.path, source.into()))?;
        if tensor.dtype() != dtype {
            return Err(malformed(self.path, format!("{name} has another element type").into()));
        }
        let data: &'a [u8] = tensor.data();
        Ok(data.as_chunks::<N>().0.iter().map(|bytes| of(*bytes)).collect())
    }

    pub(super) fn floats(&self, name: &str, count: usize) -> Result<Vec<f32>, Error> {
        self.counted(name, self.values(name, Dtype::F32, f32::from_le_bytes)?, count)
    }

    pub(super) fn counted<T>(&self, name: &str, values: Vec<T>, count: usize) -> Result<Vec<T>, Error> {
        if values.len() == count {
            Ok(values)
        } else {
            Err(malformed(self.path, format!("{name} has {} values and should have {count}", values.len()).into()))
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }
}

pub(super) fn malformed(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Malformed { path: path.to_owned(), what: "set of adapter tensors", source }
}
