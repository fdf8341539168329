//! An Ed25519 seed as a PKCS#8 PEM file and back (RFC 5958, RFC 7468, RFC 8410). Only this one
//! kind of key, and no encryption: the file mode protects it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Algorithm (Ed25519) and the header of the octet string that holds the 32-byte seed.
const ALGORITHM_AND_SEED: [u8; 11] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Where [`ALGORITHM_AND_SEED`] begins: after the outer sequence header and the version.
const HEADER: usize = 5;

/// The seed as the text of a key file.
pub(super) fn encode(seed: &[u8; 32]) -> Zeroizing<String> {
    let mut der = Zeroizing::new(vec![0x30, 0x2e, 0x02, 0x01, 0x00]);
    der.extend_from_slice(&ALGORITHM_AND_SEED);
    der.extend_from_slice(seed);
    let body = Zeroizing::new(STANDARD.encode(&*der));
    Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", *body))
}

/// The seed in the text of a key file; `None` when it holds no Ed25519 key. Version 1, as here and
/// by OpenSSL, and version 2, which repeats the public key, are both read.
pub(super) fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let body = Zeroizing::new(body.split_ascii_whitespace().collect::<String>());
    let der = Zeroizing::new(STANDARD.decode(body.as_bytes()).ok()?);
    let length = usize::from(*der.get(1)?);
    let version = der.get(2..HEADER)?;
    if der[0] != 0x30 || der.len() != 2 + length || !matches!(version, [0x02, 0x01, 0x00 | 0x01]) {
        return None;
    }
    let seed = der[HEADER..].strip_prefix(&ALGORITHM_AND_SEED)?.get(..32)?;
    seed.try_into().ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_survives_its_file() {
        assert_eq!(decode(&encode(&[7; 32])).as_deref(), Some(&[7; 32]));
    }

    #[test]
    fn a_file_cut_anywhere_is_not_a_key() {
        let text = encode(&[7; 32]);
        assert!((0..text.len() - 1).all(|end| decode(&text[..end]).is_none()));
    }

    #[test]
    fn a_key_that_openssl_wrote_is_read() {
        // The example of RFC 8410, section 10.3, in version 1 and in version 2.
        let one = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let two = "-----BEGIN PRIVATE KEY-----\nMHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\noB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\nZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PRIVATE KEY-----\n";
        let seed = decode(one).expect("version 1 is read");
        assert_eq!(seed[..4], [0xd4, 0xee, 0x72, 0xdb]);
        assert_eq!(decode(two), Some(seed));
    }
}
