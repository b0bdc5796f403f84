#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use lapis_protocol_spec::framing::Encoder;

use super::*;

fn refused(code: u8) -> ExchangeError {
    ExchangeError::Refused { code: ErrorCode::from_byte(code).unwrap(), message: String::new() }
}

#[test]
fn what_our_own_side_fails_at_never_costs_a_peer() {
    let item = Encoder::new().request(Method::Ping.request_bounds(), &[&[0; 9]], &mut Vec::new()).unwrap_err();
    for error in [RequestError::Encode(item), RequestError::Stopped] {
        assert_eq!(error.fault(), Fault::Local, "{error}");
        assert_eq!(error.fault().offence(), None);
    }
}

#[test]
fn who_does_not_have_it_or_is_busy_pays_nothing() {
    let peer = PeerId::random();
    let unsupported = RequestError::Unsupported { peer, method: Method::Ping };
    let busy = RequestError::NoPermit { peer, method: Method::Ping, waited: Duration::ZERO };
    for fault in [unsupported.fault(), busy.fault(), RequestError::NotConnected(peer).fault()] {
        assert_eq!(fault.offence(), None);
    }
    for code in [1, 2, 3, 4, 127, 139, 255] {
        assert_eq!(refused(code).fault().offence(), None, "{code}");
    }
}

#[test]
fn each_fault_of_a_peer_has_its_offence() {
    let framing = |error| ExchangeError::from(error).fault();
    for (fault, expected) in [
        (framing(FramingError::FrameReserved { kind: 2 }), Fault::Peer(Offence::Malformed)),
        (framing(FramingError::EndedInPayload), Fault::Unclear(Offence::Truncated)),
        (ExchangeError::TooManyChunks(1).fault(), Fault::Peer(Offence::TooManyChunks)),
        (ExchangeError::Timeout(Stall::TooSlow(1)).fault(), Fault::Unclear(Offence::Timeout)),
        (ExchangeError::Reset(io::ErrorKind::ConnectionReset.into()).fault(), Fault::Unclear(Offence::Reset)),
        (RequestError::Timeout(Duration::ZERO).fault(), Fault::Unclear(Offence::Timeout)),
        (RequestError::Io(io::ErrorKind::BrokenPipe.into()).fault(), Fault::Unclear(Offence::Reset)),
    ] {
        assert_eq!(fault, expected);
    }
}
