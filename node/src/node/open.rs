//! What a node opens first: its sockets for HTTP, its store.

use std::sync::Arc;

use lapis_storage::Store;

use super::{NodeOptions, StartError, settings};
use crate::{config::HttpConfig, http};

/// What can be looked at, and what can be done.
pub(super) async fn bind_http(
    config: &HttpConfig,
) -> Result<(Option<http::Bound>, Option<http::Bound>), http::BindError> {
    let http = if config.enabled { Some(http::bind(config.listen, config).await?) } else { None };
    let admin = if config.admin { Some(http::bind(config.admin_listen, config).await?) } else { None };
    Ok((http, admin))
}

pub(super) fn open_store(options: &NodeOptions) -> Result<Store, StartError> {
    let medium = Arc::clone(&options.store);
    let opened = Store::open_on(medium, options.chain.genesis(), settings::store(&options.config));
    let store = opened.map_err(|source| StartError::Open { store: options.store.to_string(), source })?;
    for (damage, fate) in store.take_mended() {
        tracing::warn!(%damage, ?fate, "a damaged row was found when the store was opened");
    }
    Ok(store)
}
