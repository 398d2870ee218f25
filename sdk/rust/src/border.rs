//! The border to the gateway: what a module imports. All `unsafe` of the crate is here.
#![allow(unsafe_code)]

/// Declares functions of one import module. Each is reached by one function of package host
/// alone, so that the linker drops those that a provider does not call: the gateway refuses
/// a module that imports more than it is granted.
macro_rules! imports {
    ($($module:literal: $($name:ident = $import:literal),+;)+) => {
        $($(
            pub fn $name(request: &[u8]) -> i32 {
                #[link(wasm_import_module = $module)]
                extern "C" {
                    #[link_name = $import]
                    fn import(request: *const u8, size: u32) -> i32;
                }
                // The gateway reads the request before it returns, and nothing behind it.
                unsafe { import(request.as_ptr(), request.len() as u32) }
            }
        )+)+
    };
}

imports! {
    "shield_io": write = "write";
    "shield_kv": kv_get = "get", kv_set = "set", kv_compare_and_set = "compare_and_set", kv_delete = "delete";
    "shield_password": password_hash = "hash", password_verify = "verify", password_common = "common";
    "shield_log": log_write = "write";
    "shield_http": http_fetch = "fetch";
    "shield_jwt": jwt_verify = "verify";
    "shield_secret": secret_get = "get", secret_mac = "mac";
}

/// Takes what the gateway holds ready, which is `size` bytes.
pub fn pull(size: i32) -> Vec<u8> {
    #[link(wasm_import_module = "shield_io")]
    extern "C" {
        fn read(to: *mut u8, size: u32) -> i32;
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    if bytes.is_empty() {
        return bytes;
    }
    // The gateway writes at most that many bytes, and says how many.
    let got = unsafe { read(bytes.as_mut_ptr(), bytes.len() as u32) };
    bytes.truncate(usize::try_from(got).unwrap_or(0));
    bytes
}
