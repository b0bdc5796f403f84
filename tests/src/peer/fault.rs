//! What a peer may be ordered to do wrong. Another fault is a variant here and a line in `spoil`.

/// A fault, by what it is about. Everything else is answered honestly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// What the peer says of itself.
    Claim(ClaimFault),
    /// Decided values.
    Value(ValueFault),
    /// Validator sets.
    ValidatorSet(ValidatorSetFault),
    /// Payloads.
    Payload(PayloadFault),
    /// Blobs.
    Blob(BlobFault),
    /// The bytes of responses with data of this kind.
    Stream(Data, StreamFault),
}

/// Kinds of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Decided values.
    Values,
    /// Payloads.
    Payloads,
    /// Blobs.
    Blobs,
}

/// Declares faults of one kind, and lists them with their names and what they are.
macro_rules! faults {
    (
        $(#[doc = $kind:literal])+
        $Kind:ident { $($(#[doc = $doc:literal])+ $Variant:ident,)+ }
    ) => {
        $(#[doc = $kind])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Kind {
            $($(#[doc = $doc])+ $Variant,)+
        }

        impl $Kind {
            /// All of them: each with its name and what it is, in words.
            pub const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$Variant, stringify!($Variant), concat!($($doc),+)),)+];
        }
    };
}

faults! {
    /// What a peer says of itself.
    ClaimFault {
        /// It is of another chain.
        OtherGenesis,
        /// It claims to hold every height up to 2^64 - 1, and serves what the chain has.
        LyingHeight,
        /// The same, and it answers everything with nothing.
        LyingHeightAndNothingServed,
    }
}

faults! {
    /// Decided values.
    ValueFault {
        /// The value is changed, the certificate is not.
        Forged,
        /// The value is changed, and the certificate names the changed one: only the signatures are for the true one.
        ForgedWithCertificate,
        /// All validators sign a value that does not attach to its parent.
        BrokenLink,
        /// Nobody signed.
        NoSignatures,
        /// One validator signed.
        OneSignature,
        /// Exactly two thirds of the power signed; more is needed.
        TwoThirds,
        /// One signature has a flipped bit.
        WrongSignature,
        /// A validator signs twice to make up the power.
        DuplicateSigner,
        /// Somebody who is no validator signs as well.
        UnknownSigner,
        /// The signatures are prevotes.
        Prevotes,
        /// The signatures are for another chain.
        OtherChain,
        /// The certificate says another round than was signed.
        OtherRound,
        /// The first two are swapped.
        Swapped,
        /// The second one is left out.
        Gap,
        /// One more than asked for.
        MoreThanAsked,
    }
}

faults! {
    /// Validator sets.
    ValidatorSetFault {
        /// Another set than the one asked for: the last member is missing.
        OtherSet,
    }
}

faults! {
    /// Payloads.
    PayloadFault {
        /// The last byte is changed.
        WrongByte,
        /// The last byte is missing.
        Short,
        /// The bytes are those of the next height.
        OfAnotherHeight,
        /// There is an execution request that nobody certified.
        ExtraRequest,
        /// It says to be of another value.
        OtherValueId,
        /// The first two are swapped.
        Swapped,
        /// The first one comes twice.
        Duplicate,
        /// One more than asked for.
        MoreThanAsked,
    }
}

faults! {
    /// Blobs.
    BlobFault {
        /// One bit of the blob is changed.
        WrongBlob,
        /// The blob holds a number that is no field element.
        NotAFieldElement,
        /// The proof is that of another blob.
        WrongProof,
        /// The proof is no point of the curve.
        ProofNotAPoint,
        /// Of many good blobs one, the last, has a wrong proof.
        LastProofWrong,
        /// Blob, commitment and proof are right together, and those of another place.
        OtherBlob,
        /// The commitment alone is another one.
        WrongCommitment,
        /// The first one comes twice.
        Duplicate,
        /// The first two are swapped.
        Swapped,
        /// The second one is left out.
        Gap,
        /// The first one is left out.
        FirstMissing,
        /// It says to be of a height that was not asked for.
        OtherHeight,
        /// It says to be at an index that the value does not have.
        IndexBeyond,
        /// Half of the first height that has several, and the end of the response.
        HalfAHeight,
        /// One more than asked for.
        MoreThanAsked,
    }
}

faults! {
    /// The bytes of a response.
    StreamFault {
        /// Nothing comes, and the stream stays open.
        Silent,
        /// One byte a second.
        Drip,
        /// The response ends before it began.
        Empty,
        /// It ends within the first chunk.
        Truncated,
        /// It ends after the result byte.
        OnlyAResultByte,
        /// The stream is reset after the first chunk.
        Reset,
        /// The same chunk again and again.
        Endless,
        /// Bytes that are no snappy frames.
        Garbage,
        /// A frame whose checksum is wrong.
        BadChecksum,
        /// A frame of a reserved type that may not be skipped.
        ReservedFrame,
        /// More padding than a response may have.
        Padding,
        /// A length of 2^64 - 1.
        EndlessLength,
        /// A length prefix with a superfluous byte.
        LongPrefix,
        /// A length one above what follows.
        LengthTooLarge,
        /// An error chunk: invalid request.
        InvalidRequest,
        /// An error chunk: server error.
        ServerError,
        /// An error chunk: resource unavailable.
        ResourceUnavailable,
        /// An error chunk: rate limited.
        RateLimited,
        /// An error chunk with a code that nobody knows.
        UnknownError,
        /// An item after an error chunk.
        ItemAfterError,
    }
}

/// A fault as it is listed for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name: what it is about, and what it is.
    pub name: String,
    /// What it is, in words.
    pub what: &'static str,
    /// The fault.
    pub fault: Fault,
}

/// Every fault, by name.
pub fn catalog() -> Vec<Listed> {
    let mut listed = Vec::new();
    let mut list = |about: &str, name: &str, what: &'static str, fault: Fault| {
        listed.push(Listed { name: format!("{about}/{}", kebab(name)), what: what.trim(), fault });
    };
    ClaimFault::ALL.iter().for_each(|(fault, name, what)| list("claim", name, what, Fault::Claim(*fault)));
    ValueFault::ALL.iter().for_each(|(fault, name, what)| list("value", name, what, Fault::Value(*fault)));
    ValidatorSetFault::ALL.iter().for_each(|(fault, name, what)| list("set", name, what, Fault::ValidatorSet(*fault)));
    PayloadFault::ALL.iter().for_each(|(fault, name, what)| list("payload", name, what, Fault::Payload(*fault)));
    BlobFault::ALL.iter().for_each(|(fault, name, what)| list("blob", name, what, Fault::Blob(*fault)));
    for (data, about) in [(Data::Values, "values"), (Data::Payloads, "payloads"), (Data::Blobs, "blobs")] {
        for (fault, name, what) in StreamFault::ALL {
            list(&format!("stream/{about}"), name, what, Fault::Stream(data, *fault));
        }
    }
    listed
}

/// `OneName` as `one-name`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}
