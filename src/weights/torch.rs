//! `pytorch_model.bin`: a zip archive with a pickle that names storages, and the storages as
//! uncompressed members. The tensors are found as byte ranges like any other format's; nothing
//! that the pickle asks to call is called, and candle's own reader is not used because it trusts
//! the file (lengths, argument counts, shared references).

mod pickle;
mod zip;

use std::collections::HashSet;
use std::io::Read;

use super::dtype::StoredDtype;
use super::file::{DataFile, Stored};
use crate::error::{Error, Result};
use pickle::{Id, Pickle, Value};
use zip::{Member, Members};

/// The tensors of `file`, in the order of the pickled dictionary.
pub(super) fn open(file: &DataFile) -> Result<Vec<Stored>> {
    let members = zip::members(file)?;
    let pickled = members.keys().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let pickled = pickled.ok_or_else(|| Error::file(&file.path, "holds no `data.pkl`"))?;
    let folder = pickled.trim_end_matches("data.pkl");
    if let Some(order) = members.get(&format!("{folder}byteorder"))
        && read(file, order)? != b"little"
    {
        return Err(Error::file(&file.path, "was written on a big-endian machine"));
    }
    let bytes = read(file, &members[pickled])?;
    let (pickle, root) =
        Pickle::run(&bytes).map_err(|e| Error::file(&file.path, format!("`{pickled}`: {e}")))?;
    let Value::Dict(entries) = pickle.value(root) else {
        return Err(Error::file(&file.path, "holds no dictionary of tensors"));
    };
    let mut tensors = Vec::new();
    let mut names = HashSet::new();
    for &(key, value) in entries {
        let &Value::String(name) = pickle.value(key) else { continue };
        let fail = |problem: String| Error::file(&file.path, format!("tensor `{name}` {problem}"));
        if !names.insert(name) {
            return Err(fail("is stored twice".into()));
        }
        let tensor = Tensor::of(&pickle, value)
            .ok_or_else(|| fail("is not stored in a form that is known here".into()))?;
        tensors.push(tensor.place(name, folder, &members).map_err(fail)?);
    }
    match tensors.is_empty() {
        true => Err(Error::file(&file.path, "holds no tensors")),
        false => Ok(tensors),
    }
}

fn read(file: &DataFile, member: &Member) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader = file.reader(member.offset)?;
    reader.take(member.bytes).read_to_end(&mut bytes).map_err(|e| Error::file(&file.path, e))?;
    Ok(bytes)
}

/// What `torch._utils._rebuild_tensor_v2` is to be called with.
struct Tensor<'a> {
    dtype: StoredDtype,
    /// The member that holds the storage.
    key: &'a str,
    /// In elements.
    offset: u64,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<'a> Tensor<'a> {
    /// The tensor that a value of the dictionary rebuilds; a `Parameter` is a tensor too.
    fn of(pickle: &Pickle<'a>, value: Id) -> Option<Self> {
        let (module, function, args) = pickle.call(value)?;
        let args = match (module, function) {
            ("torch._utils", "_rebuild_parameter") => match pickle.call(*args.first()?)? {
                ("torch._utils", "_rebuild_tensor_v2", args) => args,
                _ => return None,
            },
            ("torch._utils", "_rebuild_tensor_v2") => args,
            _ => return None,
        };
        let [storage, offset, shape, strides, ..] = args else { return None };
        let Value::Persistent(storage) = pickle.value(*storage) else { return None };
        let [_, class, key, ..] = pickle.tuple(*storage)? else { return None };
        let (&Value::Global(_, class), &Value::String(key)) =
            (pickle.value(*class), pickle.value(*key))
        else {
            return None;
        };
        Some(Self {
            dtype: dtype(class)?,
            key,
            offset: pickle.unsigned(*offset)?,
            shape: sizes(pickle, *shape)?,
            strides: sizes(pickle, *strides)?,
        })
    }

    /// Where it lies, if it lies there in one piece.
    fn place(self, name: &str, folder: &str, members: &Members) -> Result<Stored, String> {
        let path = format!("{folder}data/{}", self.key);
        let member = members.get(&path);
        let member = member.ok_or_else(|| format!("lies in `{path}`, which is missing"))?;
        if !self.is_contiguous() {
            return Err(format!("has strides {:?} for {:?}", self.strides, self.shape));
        }
        let size = self.dtype.block().1 as u64;
        let bytes = self.dtype.bytes(&self.shape).ok_or("is too large")?;
        let start = self.offset.checked_mul(size);
        match start.and_then(|start| start.checked_add(bytes)) {
            Some(end) if end <= member.bytes => {
                let offset = member.offset + self.offset * size;
                Ok(Stored::new(name.into(), self.shape, self.dtype, bytes, offset))
            }
            _ => Err(format!("claims {bytes} bytes, `{path}` has {}", member.bytes)),
        }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        self.shape.len() == self.strides.len()
            && self.shape.iter().zip(&self.strides).rev().all(|(&dim, &stride)| {
                let fits = dim <= 1 || stride == expected;
                expected = expected.saturating_mul(dim);
                fits
            })
    }
}

/// A shape, of no more axes than anything real has.
fn sizes(pickle: &Pickle<'_>, id: Id) -> Option<Vec<usize>> {
    let size = |id: &Id| usize::try_from(pickle.unsigned(*id)?).ok();
    pickle.tuple(id)?.iter().take(9).map(size).collect::<Option<Vec<_>>>().filter(|s| s.len() < 9)
}

fn dtype(storage: &str) -> Option<StoredDtype> {
    Some(match storage {
        "DoubleStorage" => StoredDtype::F64,
        "FloatStorage" => StoredDtype::F32,
        "HalfStorage" => StoredDtype::F16,
        "BFloat16Storage" => StoredDtype::BF16,
        "BoolStorage" => StoredDtype::Other { name: "BOOL", bytes: 1 },
        "ByteStorage" => StoredDtype::Other { name: "U8", bytes: 1 },
        "CharStorage" => StoredDtype::Other { name: "I8", bytes: 1 },
        "ShortStorage" => StoredDtype::Other { name: "I16", bytes: 2 },
        "IntStorage" => StoredDtype::Other { name: "I32", bytes: 4 },
        "LongStorage" => StoredDtype::Other { name: "I64", bytes: 8 },
        _ => return None,
    })
}
