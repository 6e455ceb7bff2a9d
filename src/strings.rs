//! One block of memory for every string that the child will hand to the kernel.

use std::ffi::CStr;

use crate::json::Str;

/// Hands out NUL-terminated pieces of one buffer, first come first served.
#[derive(Debug)]
pub struct Strings<'a> {
    rest: &'a mut [u8],
}

/// Why a string cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It holds a NUL, which the kernel would take for its end.
    Nul,
    /// The buffer is used up.
    Full,
}

impl Refused {
    /// The reason in words.
    pub fn why(self) -> &'static str {
        match self {
            Self::Nul => "a NUL character is not allowed here",
            Self::Full => "the strings of this file take more than its size allows",
        }
    }
}

/// How much room a file of `len` bytes needs: a decoded string and its NUL take at most what the escaped one and its
/// quotes took, and the rest is for paths that get a prefix.
pub fn room_for(len: usize) -> usize {
    len * 2 + 64 * 1024
}

impl<'a> Strings<'a> {
    /// Starts with all of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { rest: buffer }
    }

    /// Copies the pieces together.
    pub fn concat(&mut self, pieces: &[&[u8]]) -> Result<&'a CStr, Refused> {
        self.build(|at, out| {
            for piece in pieces {
                out.get_mut(*at..*at + piece.len()).ok_or(Refused::Full)?.copy_from_slice(piece);
                *at += piece.len();
            }
            Ok(())
        })
    }

    /// Decodes `text` behind `prefix`.
    pub fn decode(&mut self, prefix: &[u8], text: Str<'_>) -> Result<&'a CStr, Refused> {
        if let Some(plain) = text.plain() {
            return self.concat(&[prefix, plain.as_bytes()]);
        }
        self.build(|at, out| {
            out.get_mut(..prefix.len()).ok_or(Refused::Full)?.copy_from_slice(prefix);
            *at = prefix.len();
            for c in text.chars() {
                let mut bytes = [0; 4];
                let bytes = c.encode_utf8(&mut bytes).as_bytes();
                out.get_mut(*at..*at + bytes.len()).ok_or(Refused::Full)?.copy_from_slice(bytes);
                *at += bytes.len();
            }
            Ok(())
        })
    }

    /// Lets `fill` write a string and count its bytes, then adds the NUL.
    fn build(
        &mut self,
        fill: impl FnOnce(&mut usize, &mut [u8]) -> Result<(), Refused>,
    ) -> Result<&'a CStr, Refused> {
        let mut len = 0;
        fill(&mut len, self.rest)?;
        *self.rest.get_mut(len).ok_or(Refused::Full)? = 0;
        let (done, rest) = std::mem::take(&mut self.rest).split_at_mut(len + 1);
        self.rest = rest;
        CStr::from_bytes_with_nul(done).map_err(|_| Refused::Nul)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, List};

    #[test]
    fn strings_are_decoded_and_end_in_nul() {
        let Ok(list) = json::parse::<List<Str<'_>>>(br#"["/a\u0026b","plain","a\u0000b"]"#) else {
            unreachable!()
        };
        let mut buffer = [0xff; 64];
        let mut strings = Strings::new(&mut buffer);
        assert_eq!(strings.decode(b"/root", list[0]), Ok(c"/root/a&b"));
        assert_eq!(strings.decode(b"", list[1]), Ok(c"plain"));
        assert_eq!(strings.decode(b"", list[2]), Err(Refused::Nul));
    }

    #[test]
    fn a_full_buffer_refuses_and_stays_usable() {
        let mut buffer = [0; 8];
        let mut strings = Strings::new(&mut buffer);
        assert_eq!(strings.concat(&[b"12345678"]), Err(Refused::Full));
        assert_eq!(strings.concat(&[b"1234567"]), Ok(c"1234567"));
        assert_eq!(strings.concat(&[b""]), Err(Refused::Full));
    }
}
