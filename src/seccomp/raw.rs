//! A filter that somebody else has compiled: crun's annotation `run.oci.seccomp_bpf_data`, crun(1).
//!
//! crun leaves `linux.seccomp` aside then. Here the two exclude each other: no annotation takes a profile away.

use super::Filter;
use crate::json::Str;

/// The annotation: base64 of instructions as the kernel has them, `struct sock_filter` of linux/filter.h.
pub const ANNOTATION: &str = "run.oci.seccomp_bpf_data";

/// Reads a program of at most `BPF_MAXINSNS` instructions. What it does is for the kernel to check, when it is loaded.
pub fn read(text: Str<'_>) -> Result<Filter, &'static str> {
    let bytes =
        decode(&text.decode()).filter(|bytes| bytes.len().is_multiple_of(8) && bytes.len() <= 8 * 4096);
    let filter = bytes.and_then(|bytes| {
        let length = u32::try_from(bytes.len() / 8).ok().filter(|length| *length > 0)?;
        Filter::from_bytes(&[&[0; 4], &length.to_le_bytes(), &*bytes].concat())
    });
    filter.ok_or("expected base64 of 1 to 4096 instructions of 8 bytes")
}

/// Base64 of RFC 4648, section 4; `None` where it is not.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (groups, []) = text.as_bytes().as_chunks::<4>() else { return None };
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for (i, group) in groups.iter().enumerate() {
        let last = i + 1 == groups.len();
        let pad = group.iter().rev().take_while(|&&byte| byte == b'=').count();
        if pad > 2 || pad > 0 && !last {
            return None;
        }
        let mut bits = 0;
        for byte in group.iter().take(4 - pad) {
            bits = bits << 6 | u32::from(value(*byte)?);
        }
        let bits = bits << (6 * pad);
        let [_, a, b, c] = bits.to_be_bytes();
        bytes.extend([a, b, c].into_iter().take(3 - pad));
    }
    Some(bytes)
}

fn value(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_read_as_the_rfc_has_it() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        for wrong in ["Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm9-", "Zm=v"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
