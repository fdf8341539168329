//! The checksum that GitHub and npm write at the end of their tokens: CRC-32 (IEEE 802.3) of what stands before
//! it, in six digits of base 62.

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const LENGTH: usize = 6;

/// Whether the token behind its prefix ends with its checksum.
pub(super) fn holds(token: &str) -> bool {
    let Some((_, body)) = token.split_once('_') else { return false };
    let Some((drawn, sum)) = body.len().checked_sub(LENGTH).and_then(|at| body.split_at_checked(at)) else {
        return false;
    };
    of(drawn).as_slice() == sum.as_bytes()
}

/// The checksum of what was drawn.
pub(super) fn of(drawn: &str) -> [u8; LENGTH] {
    let mut left = crc32(drawn.as_bytes());
    let mut sum = [b'0'; LENGTH];
    for place in sum.iter_mut().rev() {
        *place = DIGITS[(left % 62) as usize];
        left /= 62;
    }
    sum
}

fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_crc_32_in_base_62() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let drawn = "a".repeat(30);
        let token = format!("ghp_{drawn}{}", String::from_utf8(of(&drawn).to_vec()).unwrap());
        assert!(holds(&token));
        assert!(!holds(&token.replacen("ghp_a", "ghp_b", 1)));
        assert!(!holds("ghp_") && !holds(""));
    }
}
