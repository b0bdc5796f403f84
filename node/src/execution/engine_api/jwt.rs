//! Credentials of the Engine API: a secret that both sides have in a file, and tokens signed with it.
//!
//! Tokens are JSON Web Tokens with HS256 and the claim `iat`, which a client accepts within a minute of its own clock
//! (<https://github.com/ethereum/execution-apis/blob/main/src/engine/authentication.md>). Each call has a token of its own.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Length of a secret in bytes.
const SECRET_BYTES: usize = 32;
/// More of a file is not read: 64 digits, `0x`, and white space.
const MAX_FILE_BYTES: u64 = 1024;
/// `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// The secret. It is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSecret([u8; SECRET_BYTES]);

impl fmt::Debug for JwtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtSecret(..)")
    }
}

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub enum JwtSecretError {
    /// The file cannot be read.
    #[error("engine.jwt_secret {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "engine.jwt_secret {path} must hold 64 hex digits, with or without 0x, as the execution client's file does"
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
}

impl JwtSecret {
    /// Reads the file that is shared with the client: 64 hex digits, white space around them and `0x` ignored.
    ///
    /// # Errors
    /// [`JwtSecretError`].
    pub fn from_file(path: &Path) -> Result<Self, JwtSecretError> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut text));
        read.map_err(|source| JwtSecretError::Read { path: path.to_owned(), source })?;
        let secret = std::str::from_utf8(&text).ok().and_then(Self::from_hex);
        secret.ok_or_else(|| JwtSecretError::Format { path: path.to_owned() })
    }

    /// Reads 64 hex digits, with or without `0x`, in either case.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut secret = [0; SECRET_BYTES];
        hex::decode_to_slice(digits, &mut secret).ok()?;
        Some(Self(secret))
    }

    /// A token that was issued at `now`; a time before 1970 counts as 1970.
    #[must_use]
    pub fn token(&self, now: SystemTime) -> String {
        let issued_at = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"iat\":{issued_at}}}"));
        let signed = format!("{HEADER}.{claims}");
        let signature = match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mac) => URL_SAFE_NO_PAD.encode(mac.chain_update(signed.as_bytes()).finalize().into_bytes()),
            // HMAC takes keys of every length.
            Err(_) => String::new(),
        };
        format!("{signed}.{signature}")
    }

    /// Whether `token` was signed with this secret; when it was issued, in seconds since 1970.
    ///
    /// A node never checks tokens: this is for what stands in for a client.
    #[must_use]
    pub fn issued_at(&self, token: &str) -> Option<u64> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.chain_update(signed.as_bytes()).verify_slice(&signature).ok()?;
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        serde_json::from_slice::<serde_json::Value>(&claims).ok()?.get("iat")?.as_u64()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DIGITS: &str = "feed64f64656fdeed64ecac7f1e8f5d5a5c1a64e0e5e5fa0b8d2f4c1d3e5f601";

    #[test]
    fn a_token_is_what_other_implementations_make() {
        // Python: hmac.new(bytes([7]) * 32, signed, sha256), all three parts in base64url.
        let token = JwtSecret([7; 32]).token(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        assert_eq!(token, TOKEN);
        assert_eq!(JwtSecret([7; 32]).issued_at(&token), Some(1_700_000_000));
        assert_eq!(JwtSecret([8; 32]).issued_at(&token), None);
    }

    const TOKEN: &str =
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MDAwMDAwMDB9.q7vdxvYJozZ6UoScEnMgFSivYb-nzMGBXN-k-GD5t_8";

    #[test]
    fn a_secret_is_read_in_every_spelling_and_nothing_else_is() {
        let secret = JwtSecret::from_hex(DIGITS).unwrap();
        for text in [format!("0x{DIGITS}\n"), format!("  {}\r\n", DIGITS.to_uppercase()), format!("0X{DIGITS}")] {
            assert_eq!(JwtSecret::from_hex(&text), Some(secret.clone()), "{text}");
        }
        for text in ["", "0x", &DIGITS[1..], &format!("{DIGITS}00"), &format!("g{}", &DIGITS[1..])] {
            assert_eq!(JwtSecret::from_hex(text), None, "{text}");
        }
        assert!(!format!("{secret:?}").contains("feed"));
    }

    #[test]
    fn a_file_is_named_if_it_cannot_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jwt.hex");
        let error = JwtSecret::from_file(&path).unwrap_err();
        assert!(matches!(error, JwtSecretError::Read { .. }) && error.to_string().contains("jwt.hex"));
        std::fs::write(&path, vec![b'a'; 1 << 20]).unwrap();
        assert!(JwtSecret::from_file(&path).unwrap_err().to_string().contains("64 hex digits"));
        std::fs::write(&path, [0xff; 64]).unwrap();
        assert!(matches!(JwtSecret::from_file(&path), Err(JwtSecretError::Format { .. })));
        std::fs::write(&path, format!("{DIGITS}\n")).unwrap();
        assert_eq!(JwtSecret::from_file(&path).unwrap(), JwtSecret::from_hex(DIGITS).unwrap());
    }
}
