//! Where archives lie, as an operator writes it.

use std::{fmt, path::PathBuf, str::FromStr};

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
                Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
            }
            Some((scheme, _)) => Err(LocationError::Scheme(scheme.to_owned())),
        }
    }
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
        for text in ["file:///var/lib/archive", "s3://bucket", "s3://bucket/a/b"] {
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
        assert_eq!("gs://bucket".parse::<Location>(), Err(LocationError::Scheme("gs".to_owned())));
    }
}
