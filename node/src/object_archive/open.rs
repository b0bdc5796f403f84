//! Opening a location.

use std::{fmt, sync::Arc, time::Duration};

use hyper::Uri;
use lapis_protocol_spec::Bytes32;
use object_store::{
    ClientOptions, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path,
};

use super::{Location, ObjectError, Operation};

/// Retries of a single request. Who waits for longer outages is the caller: it knows what else there is to do.
const RETRIES: usize = 2;

/// How to reach an S3-compatible service.
///
/// Credentials, and everything that is not set here, come from the environment as for other programs that speak S3
/// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, or those of the machine's role).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Options {
    /// URL of the service; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// Region; `None` for what the environment says.
    pub region: Option<String>,
    /// Whether the service may be spoken to without TLS.
    pub allow_http: bool,
    /// Key id and secret, where they do not come from the environment.
    pub credentials: Option<(String, String)>,
}

/// Archives of one chain at one location. Cheap to clone.
#[derive(Clone)]
pub struct ObjectArchive {
    pub(super) objects: Arc<dyn ObjectStore>,
    /// Where the archives of this chain are, within the object store.
    pub(super) base: Path,
    /// For people.
    location: Location,
}

impl fmt::Debug for ObjectArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectArchive").field("location", &self.location).field("base", &self.base).finish()
    }
}

impl ObjectArchive {
    /// Opens `location` for archives of the chain `genesis_id`. Asks nothing of a remote service yet; a directory must be
    /// there. No single request takes longer than `time_limit`. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// [`ObjectError`] if the location cannot be used at all.
    pub fn open(
        location: &Location,
        s3: &S3Options,
        time_limit: Duration,
        genesis_id: &Bytes32,
    ) -> Result<Self, ObjectError> {
        let failed = |source| ObjectError { operation: Operation::Open, object: location.to_string(), source };
        let (objects, prefix): (Arc<dyn ObjectStore>, &str) = match location {
            Location::Directory(path) => {
                let directory = LocalFileSystem::new_with_prefix(path).map_err(failed)?;
                // Only what is on the disk counts as archived.
                (Arc::new(directory.with_fsync(true)), "")
            }
            Location::S3 { bucket, prefix } => {
                let service = s3_service(bucket, s3, time_limit);
                check_s3(&service).map_err(|error| failed(unusable(error)))?;
                let service = service.build().map_err(failed)?;
                (Arc::new(service), prefix)
            }
        };
        let [a, b, c, d, e, f, g, h, ..] = genesis_id.0;
        let base = Path::from(prefix).join(hex::encode([a, b, c, d, e, f, g, h]));
        Ok(Self { objects, base, location: location.clone() })
    }

    /// Where the archives are.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Whether objects are listed in the order of their names.
    pub(super) fn lists_in_order(&self) -> bool {
        match self.location {
            Location::Directory(_) => false,
            Location::S3 { .. } => true,
        }
    }

    pub(super) fn path(&self, file: String) -> Path {
        self.base.clone().join(file)
    }

    /// A path as people know it.
    pub(super) fn shown(&self, path: &Path) -> String {
        match &self.location {
            Location::Directory(directory) => directory.join(path.as_ref()).display().to_string(),
            Location::S3 { bucket, .. } => format!("s3://{bucket}/{path}"),
        }
    }
}

/// What the client would take and then panic over, whether it comes from the configuration or from the environment.
#[derive(Debug, thiserror::Error)]
enum S3Fault {
    #[error("the endpoint {0:?} is not a URL of a service, such as https://s3.example.org or http://127.0.0.1:9000")]
    Endpoint(String),
    #[error("{0:?} is not the name of a region")]
    Region(String),
}

fn check_s3(service: &AmazonS3Builder) -> Result<(), S3Fault> {
    if let Some(endpoint) = service.get_config_value(&AmazonS3ConfigKey::Endpoint) {
        let is_service = endpoint.parse::<Uri>().is_ok_and(|uri| {
            let speaks_http = matches!(uri.scheme_str(), Some("http" | "https"));
            let is_plain = uri.query().is_none() && !endpoint.contains(['@', '#']);
            speaks_http && is_plain && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !is_service {
            return Err(S3Fault::Endpoint(endpoint));
        }
    }
    let region = service.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_default();
    let is_name = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name { Ok(()) } else { Err(S3Fault::Region(region)) }
}

fn unusable(source: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Generic { store: "S3", source: Box::new(source) }
}

fn s3_service(bucket: &str, options: &S3Options, time_limit: Duration) -> AmazonS3Builder {
    let client = ClientOptions::new()
        .with_timeout(time_limit)
        .with_connect_timeout(time_limit.min(Duration::from_secs(10)))
        .with_allow_http(options.allow_http);
    let retry =
        RetryConfig { max_retries: RETRIES, retry_timeout: time_limit.saturating_mul(2), ..RetryConfig::default() };
    let mut builder =
        AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(client).with_retry(retry);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    if let Some((id, secret)) = &options.credentials {
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    builder
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn open(endpoint: &str, region: &str) -> Result<ObjectArchive, ObjectError> {
        let options = S3Options {
            endpoint: Some(endpoint.to_owned()),
            region: Some(region.to_owned()),
            allow_http: true,
            credentials: Some(("lapis".to_owned(), "secret".to_owned())),
        };
        let location = "s3://heights/archives".parse::<Location>().unwrap();
        ObjectArchive::open(&location, &options, Duration::from_secs(1), &Bytes32::from([7; 32]))
    }

    #[test]
    fn a_service_that_cannot_be_one_is_refused_with_the_reason() {
        for endpoint in ["http://127.0.0.1:9000", "https://s3.example.org", "https://s3.example.org/below/this/"] {
            assert!(open(endpoint, "eu-central-1").is_ok(), "{endpoint}");
        }
        for endpoint in
            ["localhost:9000", "s3.example.org", "ftp://a", "http://", "http://a b", "http://a:b@c", "http://a?b"]
        {
            let refused = open(endpoint, "eu-central-1").unwrap_err().to_string();
            assert!(
                refused.starts_with("cannot open s3://heights/archives: ") && refused.contains("not a URL"),
                "{refused}"
            );
        }
        let refused = open("http://127.0.0.1:9000", "eu central").unwrap_err().to_string();
        assert!(refused.contains("\"eu central\" is not the name of a region"), "{refused}");
    }
}
