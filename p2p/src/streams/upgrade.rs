//! Protocol negotiation: which method a stream is for, and nothing else.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    iter,
};

use lapis_protocol_spec::Method;
use libp2p::{
    Stream,
    core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
};

/// A method by the name it has on the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol(pub(crate) Method);

impl AsRef<str> for Protocol {
    fn as_ref(&self) -> &str {
        self.0.protocol_id()
    }
}

/// Accepts any method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnyMethod;

impl UpgradeInfo for AnyMethod {
    type Info = Protocol;
    type InfoIter = iter::Map<std::array::IntoIter<Method, 9>, fn(Method) -> Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        Method::ALL.into_iter().map(Protocol)
    }
}

impl InboundUpgrade<Stream> for AnyMethod {
    type Output = (Stream, Method);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, protocol: Protocol) -> Self::Future {
        ready(Ok((stream, protocol.0)))
    }
}

/// Asks for one method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneMethod(pub(crate) Method);

impl UpgradeInfo for OneMethod {
    type Info = Protocol;
    type InfoIter = iter::Once<Protocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once(Protocol(self.0))
    }
}

impl OutboundUpgrade<Stream> for OneMethod {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, _: Protocol) -> Self::Future {
        ready(Ok(stream))
    }
}
