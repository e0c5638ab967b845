//! Passwords and request tokens from the system's random generator.

use rand::TryRngCore;
use rand::rngs::OsRng;
use stack::Secret;

/// Characters that RDS allows in a master password and that have no meaning in a shell, a URL or a connection string.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const LENGTH: usize = 32;

/// Returns a new password of 32 characters, 192 bits from the system's generator.
pub(crate) fn generate() -> Secret {
    let mut bytes = [0; LENGTH];
    // Without random bytes no secret can be made.
    OsRng.try_fill_bytes(&mut bytes).expect("invariant: the system has a source of randomness");
    // 64 divides 256: every character is as likely as any other.
    let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 64)])).collect();
    Secret::new(text)
}

/// Returns a token for one request: AWS does the work once, however often the request is sent.
pub(crate) fn request_token() -> String {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).expect("invariant: the system has a source of randomness");
    let hex = |byte: &u8| format!("{byte:02x}");
    let text: String = bytes.iter().map(hex).collect();
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_holds_only_what_rds_allows() {
        for _ in 0..200 {
            let password = generate();
            assert_eq!(password.expose().len(), LENGTH);
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            assert!(password.expose().chars().all(allowed));
            assert!(!password.expose().contains(['/', '@', '"', ' ', '\'']));
        }
    }

    #[test]
    fn no_two_passwords_or_tokens_are_the_same() {
        assert_ne!(generate(), generate());
        assert_ne!(request_token(), request_token());
    }

    #[test]
    fn a_token_is_as_long_as_secrets_manager_wants_it() {
        assert!((32..=64).contains(&request_token().len()));
    }
}
