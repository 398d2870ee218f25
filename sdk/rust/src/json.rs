//! JSON, RFC 8259, as settings and claims are.

const MAX_DEPTH: u32 = 32;
const MAX_MEMBERS: usize = 1024;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// null
    Null,
    /// true or false
    Bool(bool),
    /// As it is written.
    Number(String),
    /// A text.
    String(String),
    /// Values in order.
    Array(Vec<Value>),
    /// Members in order; no two of them have one name.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The member of an object.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.members()?.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// The members of an object.
    pub fn members(&self) -> Option<&[(String, Value)]> {
        match self {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn elements(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// A whole number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Number(n) => n.parse().ok(),
            _ => None,
        }
    }
}

/// Reads JSON. `None` if it is none, has one name twice in an object or more than 1024 of
/// them, or is nested deeper than 32.
pub fn parse(text: &str) -> Option<Value> {
    let mut p = Parser { text, at: 0 };
    let v = p.value(0)?;
    p.space();
    if p.at < text.len() {
        return None;
    }
    Some(v)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn accept(&mut self, c: u8) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, w: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(w.as_bytes());
        self.at += if found { w.len() } else { 0 };
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        self.space();
        if depth > MAX_DEPTH {
            return None;
        }
        if self.accept(b'{') {
            return self.object(depth);
        }
        if self.accept(b'[') {
            return self.array(depth);
        }
        if self.peek() == Some(b'"') {
            return self.string().map(Value::String);
        }
        if self.word("true") {
            return Some(Value::Bool(true));
        }
        if self.word("false") {
            return Some(Value::Bool(false));
        }
        if self.word("null") {
            return Some(Value::Null);
        }
        self.number()
    }

    fn array(&mut self, depth: u32) -> Option<Value> {
        let mut elements = Vec::new();
        self.space();
        if self.accept(b']') {
            return Some(Value::Array(elements));
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.space();
            if !self.accept(b',') {
                break;
            }
        }
        self.accept(b']').then(|| Value::Array(elements))
    }

    fn object(&mut self, depth: u32) -> Option<Value> {
        let mut members: Vec<(String, Value)> = Vec::new();
        self.space();
        if self.accept(b'}') {
            return Some(Value::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            if members.len() >= MAX_MEMBERS || members.iter().any(|(n, _)| *n == name) || !self.accept(b':') {
                return None;
            }
            let value = self.value(depth + 1)?;
            members.push((name, value));
            self.space();
            if !self.accept(b',') {
                break;
            }
        }
        self.accept(b'}').then(|| Value::Object(members))
    }

    fn digits(&mut self) -> bool {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > from
    }

    fn number(&mut self) -> Option<Value> {
        let from = self.at;
        self.accept(b'-');
        if !self.accept(b'0') && !self.digits() {
            return None;
        }
        if self.accept(b'.') && !self.digits() {
            return None;
        }
        if self.accept(b'e') || self.accept(b'E') {
            if !self.accept(b'+') {
                self.accept(b'-');
            }
            if !self.digits() {
                return None;
            }
        }
        Some(Value::Number(self.text[from..self.at].into()))
    }

    fn string(&mut self) -> Option<String> {
        if !self.accept(b'"') {
            return None;
        }
        let mut out = String::new();
        let mut from = self.at;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    out.push_str(&self.text[from..self.at]);
                    self.at += 1;
                    out.push(self.escaped()?);
                    from = self.at;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
        out.push_str(&self.text[from..self.at]);
        self.at += 1;
        Some(out)
    }

    fn escaped(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        match c {
            b'"' | b'\\' | b'/' => Some(c.into()),
            b'b' => Some('\u{8}'),
            b'f' => Some('\u{c}'),
            b'n' => Some('\n'),
            b'r' => Some('\r'),
            b't' => Some('\t'),
            b'u' => self.unit(),
            _ => None,
        }
    }

    /// What stands behind \u. Half of a pair becomes U+FFFD, since it is no character.
    fn unit(&mut self) -> Option<char> {
        let c = self.four_digits()?;
        if !(0xd800..0xe000).contains(&c) {
            return char::from_u32(c);
        }
        let behind = self.at;
        if c < 0xdc00 && self.word("\\u") {
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                return char::from_u32(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
            }
            self.at = behind;
        }
        Some('\u{fffd}')
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let mut n = 0;
        for d in digits {
            n = n << 4 | char::from(*d).to_digit(16)?;
        }
        self.at += 4;
        Some(n)
    }
}
