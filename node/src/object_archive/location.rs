//! Where archives lie, as an operator writes it.

use std::{fmt, path::PathBuf, str::FromStr};

use object_store::path::Path;

/// A place for archives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// A directory: `/var/lib/archive` or `file:///var/lib/archive`.
    Directory(PathBuf),
    /// A bucket, or what is below a prefix in it: `s3://bucket/prefix`.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Prefix without slashes around it; empty for the bucket itself.
        prefix: String,
    },
}

/// Why a text is no [`Location`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// A directory that is not named from the root.
    #[error("the directory must be an absolute path")]
    Relative,
    /// `s3://` and no bucket.
    #[error("the bucket is missing")]
    NoBucket,
    /// The name of the bucket is none.
    #[error("{0:?} is not the name of a bucket")]
    Bucket(String),
    /// A prefix that would not be used as it is written.
    #[error("the prefix has a part, or a character, that object names cannot have: it would become {0:?}")]
    Prefix(String),
    /// Neither `file` nor `s3`.
    #[error("{0}:// is not known, only file:// and s3:// are")]
    Scheme(String),
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        match text.split_once("://") {
            None => directory(text),
            Some(("file", path)) => directory(path),
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(LocationError::NoBucket);
                }
                s3(bucket, prefix.trim_matches('/'))
            }
            Some((scheme, _)) => Err(LocationError::Scheme(scheme.to_owned())),
        }
    }
}

fn s3(bucket: &str, prefix: &str) -> Result<Location, LocationError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !bucket.bytes().all(is_plain) || !bucket.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Err(LocationError::Bucket(bucket.to_owned()));
    }
    // What operators read and what is used must be the same.
    let used = Path::from(prefix);
    if used.as_ref() != prefix {
        return Err(LocationError::Prefix(used.into()));
    }
    Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

fn directory(path: &str) -> Result<Location, LocationError> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(Location::Directory(path)) } else { Err(LocationError::Relative) }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "file://{}", path.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_location_is_read_as_it_is_shown() {
        for text in ["file:///var/lib/archive", "s3://bucket", "s3://bucket/a/b", "s3://my.bucket-1/a b=c/1+1"] {
            assert_eq!(text.parse::<Location>().unwrap().to_string(), text);
        }
        assert_eq!("/var/a b".parse::<Location>().unwrap(), Location::Directory("/var/a b".into()));
        assert_eq!("s3://bucket/a/".parse::<Location>().unwrap().to_string(), "s3://bucket/a");
    }

    #[test]
    fn what_is_no_location_is_refused_with_the_reason() {
        assert_eq!("archive".parse::<Location>(), Err(LocationError::Relative));
        assert_eq!("file://archive".parse::<Location>(), Err(LocationError::Relative));
        assert_eq!("s3:///prefix".parse::<Location>(), Err(LocationError::NoBucket));
        for bucket in ["user:password@bucket", "a b", "..", "bucket?x=1", "[::1]"] {
            let refused = format!("s3://{bucket}/prefix").parse::<Location>();
            assert_eq!(refused, Err(LocationError::Bucket(bucket.to_owned())));
        }
        for prefix in ["a/../b", "a//b", ".", "50%", "a#1", "a?b", "a\\b"] {
            let refused = format!("s3://bucket/{prefix}").parse::<Location>();
            assert!(matches!(refused, Err(LocationError::Prefix(_))), "{prefix}: {refused:?}");
        }
        assert_eq!("gs://bucket".parse::<Location>(), Err(LocationError::Scheme("gs".to_owned())));
    }
}
