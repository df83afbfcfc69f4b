//! Writers of small checkpoints, honest and lying. They share no code with the readers.

use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};

/// A folder that goes when dropped.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Distinct numbers that every dtype holds exactly.
pub fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let data: Vec<f32> = (0..count).map(|i| ((i * 37 + seed * 11) % 251) as f32 - 125.).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
}

pub fn f32_bytes(tensor: &Tensor) -> Vec<u8> {
    let numbers = tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap().to_vec1::<f32>();
    numbers.unwrap().iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A safetensors file with this header and these data, whether they fit or not.
pub fn raw_safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

/// Tensors in f32.
pub fn safetensors(tensors: &[(&str, &Tensor)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, tensor) in tensors {
        let start = data.len();
        data.extend(f32_bytes(tensor));
        let shape = tensor.dims();
        entries.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{}]}}"#,
            data.len()
        ));
    }
    raw_safetensors(&format!("{{{}}}", entries.join(",")), &data)
}

/// A GGUF as candle writes it.
pub fn gguf(keys: &[(&str, Value)], tensors: &[(&str, &Tensor, GgmlDType)]) -> Vec<u8> {
    let keys: Vec<(&str, &Value)> = keys.iter().map(|(k, v)| (*k, v)).collect();
    let quantised: Vec<QTensor> =
        tensors.iter().map(|(_, t, dtype)| QTensor::quantize(t, *dtype).unwrap()).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().zip(&quantised).map(|((name, ..), q)| (*name, q)).collect();
    let mut bytes = std::io::Cursor::new(Vec::new());
    gguf_file::write(&mut bytes, &keys, &tensors).unwrap();
    bytes.into_inner()
}

/// A GGUF header field by field, for those that no writer would write.
#[derive(Default, Clone)]
pub struct RawGguf(pub Vec<u8>);

impl RawGguf {
    pub fn new(tensors: u64, keys: u64) -> Self {
        Self(b"GGUF".to_vec()).u32(3).u64(tensors).u64(keys)
    }

    pub fn u32(mut self, x: u32) -> Self {
        self.0.extend(x.to_le_bytes());
        self
    }

    pub fn u64(mut self, x: u64) -> Self {
        self.0.extend(x.to_le_bytes());
        self
    }

    pub fn string(self, text: &str) -> Self {
        let mut this = self.u64(text.len() as u64);
        this.0.extend(text.as_bytes());
        this
    }

    pub fn tensor(self, name: &str, dims: &[u64], dtype: u32, offset: u64) -> Self {
        let this = self.string(name).u32(dims.len() as u32);
        let this = dims.iter().fold(this, |this, dim| this.u64(*dim));
        this.u32(dtype).u64(offset)
    }

    /// The header, padded, and data behind it.
    pub fn data(mut self, bytes: usize) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(32) + bytes, 0);
        self.0
    }
}

/// One tensor of a pickle: name, storage class, storage key, offset, shape, strides.
pub type Pickled<'a> = (&'a str, &'a str, &'a str, u32, &'a [u32], &'a [u32]);

/// A pickled dictionary of tensors as `torch.save` writes it (protocol 2).
pub fn pickle(tensors: &[Pickled<'_>]) -> Vec<u8> {
    let mut p = b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01(".to_vec();
    let string = |p: &mut Vec<u8>, s: &str| {
        p.push(b'X');
        p.extend((s.len() as u32).to_le_bytes());
        p.extend(s.as_bytes());
    };
    let sizes = |p: &mut Vec<u8>, sizes: &[u32]| {
        p.push(b'(');
        for size in sizes {
            p.push(b'J');
            p.extend(size.to_le_bytes());
        }
        p.push(b't');
    };
    for (name, class, key, offset, shape, strides) in tensors {
        string(&mut p, name);
        p.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        string(&mut p, "storage");
        p.extend(format!("ctorch\n{class}\n").as_bytes());
        string(&mut p, key);
        string(&mut p, "cpu");
        p.extend(b"K\x10tQJ");
        p.extend(offset.to_le_bytes());
        sizes(&mut p, shape);
        sizes(&mut p, strides);
        p.extend(b"\x89h\x00)RtR");
    }
    p.extend(b"u}X\x09\x00\x00\x00_metadatah\x01sb.");
    p
}

/// A zip archive of uncompressed members.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let sizes = (data.len() as u32).to_le_bytes();
        let start = (file.len() as u32).to_le_bytes();
        let name_len = (name.len() as u16).to_le_bytes();
        let common = [&[0; 10][..], &sizes, &sizes, &name_len].concat();
        file.extend([b"PK\x03\x04", &[0; 4][..], &common, &[0; 2], name.as_bytes(), data].concat());
        directory.extend([b"PK\x01\x02", &[0; 6][..], &common, &[0; 12]].concat());
        directory.extend([&start, name.as_bytes()].concat());
    }
    let (start, len) = (file.len() as u32, directory.len() as u32);
    file.extend(&directory);
    file.extend([b"PK\x05\x06", &[0; 8][..], &len.to_le_bytes(), &start.to_le_bytes()].concat());
    file.extend([0; 2]);
    file
}

/// `pytorch_model.bin` with f32 tensors, a storage each.
pub fn torch(tensors: &[(&str, &Tensor)]) -> Vec<u8> {
    let keys: Vec<String> = (0..tensors.len()).map(|i| i.to_string()).collect();
    let shapes: Vec<(Vec<u32>, Vec<u32>)> = tensors
        .iter()
        .map(|(_, t)| {
            let sizes = |s: &[usize]| s.iter().map(|n| *n as u32).collect();
            (sizes(t.dims()), sizes(t.stride()))
        })
        .collect();
    let entries: Vec<Pickled<'_>> = tensors
        .iter()
        .zip(&keys)
        .zip(&shapes)
        .map(|(((name, _), key), (shape, strides))| {
            (*name, "FloatStorage", key.as_str(), 0, shape.as_slice(), strides.as_slice())
        })
        .collect();
    let mut members = vec![("archive/data.pkl".to_string(), pickle(&entries))];
    for ((_, tensor), key) in tensors.iter().zip(&keys) {
        members.push((format!("archive/data/{key}"), f32_bytes(tensor)));
    }
    let members: Vec<(&str, &[u8])> =
        members.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect();
    zip(&members)
}
