//! The encryption of shells, on top of TLS: AES-256-GCM with a data key from KMS.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bytes::{BufMut, Bytes, BytesMut};
use zeroize::Zeroizing;

/// Half of a data key.
const HALF: usize = 32;

/// A data key, in clear and as only KMS can read it. It has no `Debug`; the clear one is overwritten when it is dropped.
pub struct DataKey {
    plaintext: Zeroizing<[u8; DataKey::LENGTH]>,
    ciphertext: Bytes,
}

/// A key of another length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a data key of {length} bytes is none of {}", DataKey::LENGTH)]
pub struct DataKeyError {
    /// The bytes that there are.
    pub length: usize,
}

impl DataKey {
    /// The bytes that KMS is asked for: a key for each direction.
    pub const LENGTH: usize = 2 * HALF;

    /// Returns the data key that KMS has made.
    ///
    /// # Errors
    /// When `plaintext` is not [`DataKey::LENGTH`] bytes long.
    pub fn new(plaintext: &[u8], ciphertext: impl Into<Bytes>) -> Result<DataKey, DataKeyError> {
        let length = plaintext.len();
        let plaintext: [u8; DataKey::LENGTH] = plaintext.try_into().map_err(|_| DataKeyError { length })?;
        Ok(DataKey { plaintext: Zeroizing::new(plaintext), ciphertext: ciphertext.into() })
    }

    /// Returns the key as only KMS can read it.
    pub fn ciphertext(&self) -> &Bytes {
        &self.ciphertext
    }
}

/// Whose messages are encrypted and whose are decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client encrypts with the second half of the data key and decrypts with the first.
    Client,
    /// The agent does it the other way round.
    Agent,
}

/// Encrypts one direction of a session and decrypts the other. It has no `Debug`.
pub struct Cipher {
    encrypt: RandomizedNonceKey,
    decrypt: RandomizedNonceKey,
}

/// The bytes were not encrypted with the session's key, or were changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes were not encrypted with the key of the session")]
pub struct DecryptError;

impl Cipher {
    /// Returns the cipher of one side.
    pub fn new(key: &DataKey, side: Side) -> Cipher {
        let (first, second) = key.plaintext.split_at(HALF);
        let key = |half| {
            RandomizedNonceKey::new(&AES_256_GCM, half)
                .expect("invariant: half a data key is a key of AES-256")
        };
        match side {
            Side::Client => Cipher { encrypt: key(second), decrypt: key(first) },
            Side::Agent => Cipher { encrypt: key(first), decrypt: key(second) },
        }
    }

    /// Returns a random nonce, the encrypted bytes and their tag.
    pub fn encrypt(&self, plain: &[u8]) -> Bytes {
        let mut sealed = plain.to_vec();
        let nonce = self
            .encrypt
            .seal_in_place_append_tag(Aad::empty(), &mut sealed)
            .expect("invariant: no message is too long for AES-GCM");
        let mut bytes = BytesMut::with_capacity(NONCE_LEN + sealed.len());
        bytes.put_slice(nonce.as_ref());
        bytes.put_slice(&sealed);
        bytes.freeze()
    }

    /// Returns what the other side has encrypted.
    ///
    /// # Errors
    /// When it was encrypted with another key, changed, or never encrypted.
    pub fn decrypt(&self, bytes: &[u8]) -> Result<Bytes, DecryptError> {
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(DecryptError)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| DecryptError)?;
        let mut plain = BytesMut::from(sealed);
        let length =
            self.decrypt.open_in_place(nonce, Aad::empty(), &mut plain).map_err(|_| DecryptError)?.len();
        plain.truncate(length);
        Ok(plain.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> DataKey {
        let plaintext: Vec<u8> = (0..64).map(|at| at ^ seed).collect();
        DataKey::new(&plaintext, "sealed").unwrap()
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        for length in [0, 32, 63, 65] {
            assert_eq!(DataKey::new(&vec![0; length], "").err(), Some(DataKeyError { length }));
        }
    }

    #[test]
    fn each_direction_has_its_own_key_and_each_message_its_own_nonce() {
        let (client, agent) = (Cipher::new(&key(0), Side::Client), Cipher::new(&key(0), Side::Agent));
        let sealed = client.encrypt(b"hello");
        assert_eq!(sealed.len(), 12 + 5 + 16);
        assert_ne!(sealed, client.encrypt(b"hello"));
        assert_eq!(client.decrypt(&sealed), Err(DecryptError), "what the client sends, it cannot read");
        assert_eq!(agent.decrypt(&sealed).unwrap(), "hello");
        assert_eq!(Cipher::new(&key(1), Side::Agent).decrypt(&sealed), Err(DecryptError));
    }

    /// NIST's test vector for AES-256-GCM with a key of zeroes, a nonce of zeroes and a block of zeroes.
    #[test]
    fn the_algorithm_is_aes_256_gcm_without_additional_data() {
        let client = Cipher::new(&DataKey::new(&[0; 64], "").unwrap(), Side::Client);
        let vector =
            "000000000000000000000000cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919";
        let bytes: Vec<u8> = (0..vector.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&vector[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(client.decrypt(&bytes).unwrap(), vec![0; 16]);
    }

    proptest! {
        #[test]
        fn what_is_encrypted_can_be_read_and_nothing_in_it_can_be_changed(
            plain in proptest::collection::vec(any::<u8>(), 0..2000),
            at in any::<proptest::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let (client, agent) = (Cipher::new(&key(3), Side::Client), Cipher::new(&key(3), Side::Agent));
            let sealed = agent.encrypt(&plain);
            prop_assert_eq!(client.decrypt(&sealed).unwrap(), plain);
            let mut changed = sealed.to_vec();
            changed[at.index(sealed.len())] ^= flip;
            prop_assert_eq!(client.decrypt(&changed), Err(DecryptError));
            prop_assert_eq!(client.decrypt(&sealed[..at.index(sealed.len())]), Err(DecryptError));
        }
    }
}
