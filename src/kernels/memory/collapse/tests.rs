//! Whether pages keep what they hold. That they become large ones is the system's affair.

use super::super::{Buffer, Held};
use super::put_together;

#[test]
fn pages_put_together_hold_what_they_held() {
    const BYTES: usize = 20 << 20;
    let mut buffer = Buffer::zeroed(BYTES);
    // SAFETY: the buffer is so long.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr(), BYTES) };
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (i % 251) as u8;
    }
    assert!(matches!(&buffer.held, Held::Part(..)), "so much memory comes in chunks");
    if let Held::Part(chunk, _) = &buffer.held {
        put_together(chunk);
    }
    assert!(bytes.iter().enumerate().all(|(i, byte)| *byte == (i % 251) as u8));
}
