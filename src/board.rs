//! What the board sets when mote is built: the sizes of all fixed tables, and which version this is. The constants come
//! from `board/<family>/<machine>/board.conf` by way of `build.rs`; `board/parse.rs` lists the keys and their ranges.

include!(concat!(env!("OUT_DIR"), "/board.rs"));
