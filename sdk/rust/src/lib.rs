//! What the author of an identity provider in Rust needs: the contract between a provider
//! and the gateway as plain data. A provider answers one question, who is this, and hands
//! everything that must not be forgotten (state, one-time links, sessions, tokens, limits)
//! to the gateway.
//!
//! Implement [`Provider`] and name it once with [`export!`]. The crate depends on nothing,
//! works with Rust 1.63, and is compiled for `wasm32-unknown-unknown`.
//!
//! The gateway makes one call at a time. It may run many copies of a module, and may drop
//! one after any call, so what must last goes through [`kv`] or [`Step::save`]. A panic ends
//! the module; the gateway answers for it and starts another one.
#![deny(unsafe_code, missing_docs)]

mod border;
mod host;
pub mod json;
mod model;
mod serve;
mod wire;

pub use host::{http, jwt, kv, log, passwords, secrets, Entry, HostError, HttpRequest, HttpResponse, JwtCheck, Level, Verdict};
pub use model::{code, Document, Error, Fault, Field, FieldError, Flow, Form, Identity, Kind, Mail, Manifest, Request, Step};
pub use serve::{answer, Provider};

/// Version of the contract.
pub const ABI: i32 = 2;

/// Makes a value the provider of this module. Use it once.
///
/// ```ignore
/// shield::export!(Mine::default());
/// ```
#[macro_export]
macro_rules! export {
    ($provider:expr) => {
        std::thread_local! {
            static SHIELD_PROVIDER: std::cell::RefCell<std::boxed::Box<dyn $crate::Provider>> =
                std::cell::RefCell::new(std::boxed::Box::new($provider));
        }

        /// The version of the contract that this module speaks.
        #[no_mangle]
        pub extern "C" fn shield_abi() -> i32 {
            $crate::ABI
        }

        /// One call of the gateway.
        #[no_mangle]
        pub extern "C" fn shield_call(method: i32, size: i32) -> i32 {
            SHIELD_PROVIDER.with(|p| $crate::answer(&mut **p.borrow_mut(), method, size))
        }
    };
}

/// Compares in a time that depends on the lengths alone. For secrets and what is made of
/// them.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && difference(a, b) == 0
}

/// A function of its own, so that the compiler does not see that only zero is asked for and
/// stop early.
#[inline(never)]
fn difference(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n)]);
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}
