//! Protobuf as provider.proto uses it. Reading follows protobuf: unknown fields are skipped,
//! of a repeated single field the last counts. It is stricter where that costs no honest
//! sender anything: a known field of the wrong type is an error, groups are refused, and
//! sizes are bounded.

use std::collections::BTreeMap;

/// Most bytes of a message.
pub const MAX_MESSAGE: usize = 1 << 20;
/// Most elements of a repeated field.
pub const MAX_REPEATED: usize = 1024;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Bytes that are not the message that they should be.
#[derive(Debug)]
pub struct Malformed;

pub type Read<T> = Result<T, Malformed>;

/// One field of a message as it stands in the input.
pub struct Field<'a> {
    pub num: u64,
    value: Value<'a>,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Calls `visit` with every field of a message in order.
pub fn each<'a>(mut message: &'a [u8], mut visit: impl FnMut(Field<'a>) -> Read<()>) -> Read<()> {
    if message.len() > MAX_MESSAGE {
        return Err(Malformed);
    }
    while !message.is_empty() {
        let field = next(&mut message)?;
        visit(field)?;
    }
    Ok(())
}

fn next<'a>(message: &mut &'a [u8]) -> Read<Field<'a>> {
    let tag = varint(message)?;
    let num = tag >> 3;
    if num == 0 || num >= 1 << 29 {
        return Err(Malformed);
    }
    let value = match tag & 7 {
        VARINT => Value::Number(varint(message)?),
        BYTES => {
            let size = varint(message)?;
            Value::Bytes(take(message, size)?)
        }
        FIXED64 => take(message, 8).map(|_| Value::Fixed)?,
        FIXED32 => take(message, 4).map(|_| Value::Fixed)?,
        _ => return Err(Malformed),
    };
    Ok(Field { num, value })
}

fn take<'a>(message: &mut &'a [u8], size: u64) -> Read<&'a [u8]> {
    if size > message.len() as u64 {
        return Err(Malformed);
    }
    let (head, rest) = message.split_at(size as usize);
    *message = rest;
    Ok(head)
}

/// A number of at most 64 bits; the tenth byte holds the last bit alone.
fn varint(message: &mut &[u8]) -> Read<u64> {
    let mut value = 0;
    for (i, b) in message.iter().enumerate().take(10) {
        if i == 9 && *b > 1 {
            break;
        }
        value |= u64::from(b & 0x7f) << (7 * i);
        if *b < 0x80 {
            *message = &message[i + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

impl<'a> Field<'a> {
    pub fn slice(&self) -> Read<&'a [u8]> {
        match self.value {
            Value::Bytes(b) => Ok(b),
            _ => Err(Malformed),
        }
    }

    pub fn bytes(&self) -> Read<Vec<u8>> {
        self.slice().map(<[u8]>::to_vec)
    }

    pub fn text(&self) -> Read<String> {
        String::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub fn uint(&self) -> Read<u64> {
        match self.value {
            Value::Number(n) => Ok(n),
            _ => Err(Malformed),
        }
    }

    pub fn int(&self) -> Read<i64> {
        self.uint().map(|n| n as i64)
    }

    pub fn flag(&self) -> Read<bool> {
        self.uint().map(|n| n != 0)
    }

    /// The texts 1 and 2 of an embedded message.
    pub fn pair(&self) -> Read<(String, String)> {
        let mut pair = (String::new(), String::new());
        each(self.slice()?, |f| {
            match f.num {
                1 => pair.0 = f.text()?,
                2 => pair.1 = f.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(pair)
    }

    /// Adds an entry of a map, or replaces the one of that name.
    pub fn entry(&self, map: &mut BTreeMap<String, String>) -> Read<()> {
        let (name, value) = self.pair()?;
        map.insert(name, value);
        if map.len() > MAX_REPEATED {
            return Err(Malformed);
        }
        Ok(())
    }
}

/// Writes one message.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn uint(&mut self, num: u64, value: u64) {
        if value != 0 {
            self.number(num << 3 | VARINT);
            self.number(value);
        }
    }

    /// Also an empty one.
    pub fn element(&mut self, num: u64, value: &[u8]) {
        self.number(num << 3 | BYTES);
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Nothing if it is empty.
    pub fn bytes(&mut self, num: u64, value: &[u8]) {
        if !value.is_empty() {
            self.element(num, value);
        }
    }

    /// Nothing if it is empty.
    pub fn text(&mut self, num: u64, value: &str) {
        self.bytes(num, value.as_bytes());
    }

    pub fn texts(&mut self, num: u64, values: &[String]) {
        for v in values {
            self.element(num, v.as_bytes());
        }
    }

    pub fn message(&mut self, num: u64, value: Writer) {
        self.element(num, &value.0);
    }

    pub fn pair(&mut self, num: u64, name: &str, value: &str) {
        let mut entry = Writer::default();
        entry.text(1, name);
        entry.text(2, value);
        self.message(num, entry);
    }

    pub fn map(&mut self, num: u64, map: &BTreeMap<String, String>) {
        for (name, value) in map {
            self.pair(num, name, value);
        }
    }
}
