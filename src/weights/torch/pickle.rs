//! The part of Python's pickle that a dictionary of tensors uses (Python, `pickletools.py`). It
//! builds values and calls nothing. Values live in one list and name each other by number, so a
//! hostile nesting costs no stack and a shared reference no copy: memory stays within a constant
//! factor of the pickle.

use std::collections::HashMap;

/// A value's number.
pub(super) type Id = usize;

/// A value.
pub(super) enum Value<'a> {
    /// Anything that tensors do not need: `None`, floats, sets.
    Other,
    Bool,
    Int(i64),
    String(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A module and a name in it.
    Global(&'a str, &'a str),
    /// What would be called, and the tuple of arguments.
    Call(Id, Id),
    /// A reference to something outside of the pickle: a storage.
    Persistent(Id),
}

/// A pickle after it was run.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
}

type Run<T> = Result<T, String>;

impl<'a> Pickle<'a> {
    /// Runs a pickle; the value that it leaves is the second of the answer.
    pub(super) fn run(bytes: &'a [u8]) -> Run<(Self, Id)> {
        let mut machine = Machine { rest: bytes, ..Default::default() };
        while !machine.step()? {}
        let root = machine.pop()?;
        Ok((Self { values: machine.values }, root))
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id).unwrap_or(&Value::Other)
    }

    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Tuple(ids) => Some(ids),
            _ => None,
        }
    }

    pub(super) fn unsigned(&self, id: Id) -> Option<u64> {
        match self.value(id) {
            Value::Int(x) => u64::try_from(*x).ok(),
            _ => None,
        }
    }

    /// Module, function and arguments of a call.
    pub(super) fn call(&self, id: Id) -> Option<(&str, &str, &[Id])> {
        let Value::Call(function, args) = self.value(id) else { return None };
        let Value::Global(module, name) = self.value(*function) else { return None };
        Some((module, name, self.tuple(*args)?))
    }
}

/// The stack machine that a pickle is a program for.
#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// One opcode; answers whether it was the last.
    fn step(&mut self) -> Run<bool> {
        match self.byte()? {
            b'.' => return Ok(true),
            0x80 => drop(self.byte()?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            op @ (b'q' | b'r' | 0x94 | b'h' | b'j') => self.memo(op)?,
            op @ (b'N' | b'G' | 0x88 | 0x89 | b'J' | b'K' | b'M' | 0x8a) => self.number(op)?,
            op @ (b'X' | 0x8c | 0x8d | b'U' | b'T') => self.string(op)?,
            op @ (b'c' | 0x93) => self.global(op)?,
            op @ (b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'}' | b'd') => self.collect(op)?,
            op @ (b'a' | b'e' | b's' | b'u') => self.fill(op)?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            b'R' | 0x81 => {
                let (args, function) = (self.pop()?, self.pop()?);
                let value = match &self.values[function] {
                    Value::Global("collections", "OrderedDict") => Value::Dict(Vec::new()),
                    _ => Value::Call(function, args),
                };
                self.push(value);
            }
            // The state of an object, such as a dictionary's `_metadata`.
            b'b' => drop(self.pop()?),
            op => return Err(format!("opcode {op:#04x} is none that a file of tensors needs")),
        }
        Ok(false)
    }

    fn memo(&mut self, op: u8) -> Run<()> {
        let key = match op {
            b'q' | b'h' => self.unsigned(1)?,
            0x94 => self.memo.len() as u64,
            _ => self.unsigned(4)?,
        };
        if op == b'h' || op == b'j' {
            let id = self.memo.get(&key).ok_or("a reference to nothing")?;
            self.stack.push(*id);
        } else {
            let id = self.stack.last().ok_or("an empty stack")?;
            self.memo.insert(key, *id);
        }
        Ok(())
    }

    fn number(&mut self, op: u8) -> Run<()> {
        let value = match op {
            b'N' => Value::Other,
            b'G' => {
                self.take(8)?;
                Value::Other
            }
            0x88 | 0x89 => Value::Bool,
            b'J' => Value::Int(self.unsigned(4)? as u32 as i32 as i64),
            b'K' => Value::Int(self.unsigned(1)? as i64),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            _ => {
                let len = self.unsigned(1)? as usize;
                match len {
                    0..=8 => Value::Int(signed(self.take(len)?)),
                    _ => return Err("an integer of more than 64 bits".into()),
                }
            }
        };
        self.push(value);
        Ok(())
    }

    fn string(&mut self, op: u8) -> Run<()> {
        let width = match op {
            0x8c | b'U' => 1,
            0x8d => 8,
            _ => 4,
        };
        let len = usize::try_from(self.unsigned(width)?).map_err(|e| e.to_string())?;
        let text = text(self.take(len)?)?;
        self.push(Value::String(text));
        Ok(())
    }

    fn global(&mut self, op: u8) -> Run<()> {
        let (module, name) = if op == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.values[module], &self.values[name]) {
                (Value::String(module), Value::String(name)) => (*module, *name),
                _ => return Err("a global without a name".into()),
            }
        };
        self.push(Value::Global(module, name));
        Ok(())
    }

    fn collect(&mut self, op: u8) -> Run<()> {
        let value = match op {
            b')' => Value::Tuple(Vec::new()),
            b']' => Value::List(Vec::new()),
            b'}' => Value::Dict(Vec::new()),
            b't' => Value::Tuple(self.pop_to_mark()?),
            b'l' => Value::List(self.pop_to_mark()?),
            b'd' => Value::Dict(pairs(&self.pop_to_mark()?)?),
            _ => {
                let from = self.stack.len().checked_sub((op - 0x84) as usize);
                Value::Tuple(self.stack.split_off(from.ok_or("an empty stack")?))
            }
        };
        self.push(value);
        Ok(())
    }

    fn fill(&mut self, op: u8) -> Run<()> {
        let items = match op {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.pop_to_mark()?,
        };
        let target = *self.stack.last().ok_or("an empty stack")?;
        match &mut self.values[target] {
            Value::List(list) if op == b'a' || op == b'e' => list.extend(items),
            Value::Dict(dict) if op == b's' || op == b'u' => dict.extend(pairs(&items)?),
            // Objects that are filled like a list or dictionary, and are none.
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Run<Id> {
        self.stack.pop().ok_or_else(|| "an empty stack".into())
    }

    fn pop_to_mark(&mut self) -> Run<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or("no mark on the stack")?))
    }

    fn take(&mut self, len: usize) -> Run<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("it is cut off")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Run<u8> {
        Ok(self.take(1)?[0])
    }

    fn unsigned(&mut self, width: usize) -> Run<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |n, &b| n << 8 | b as u64))
    }

    fn line(&mut self) -> Run<&'a str> {
        let end = self.rest.iter().position(|b| *b == b'\n').ok_or("it is cut off")?;
        Ok(text(self.take(end + 1)?)?.trim_end())
    }
}

fn text(bytes: &[u8]) -> Run<&str> {
    std::str::from_utf8(bytes).map_err(|_| "a string is not UTF-8".into())
}

fn pairs(ids: &[Id]) -> Run<Vec<(Id, Id)>> {
    let (pairs, rest) = ids.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err("a key without a value".into())
    }
}

/// A little-endian integer in two's complement, at most 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let sign = if bytes.last().is_some_and(|b| b & 0x80 != 0) { -1i64 } else { 0 };
    bytes.iter().rev().fold(sign, |n, &b| n << 8 | b as i64)
}
