//! Layout of SSZ containers: fixed parts first, variable parts after them at ascending offsets.
//!
//! `ssz_rs` can derive this, but its derived decoder subtracts unchecked offsets (a panic wherever overflow is checked)
//! and its list decoder slices by them (a panic everywhere), and its encoder allocates for every field. The macro here
//! implements the same traits for containers that hold anything of variable size or anything large.

use sha2::{Digest, Sha256};
use ssz_rs::{DeserializeError, MerkleizationError, Node, SerializeError, SimpleSerialize};

/// Bytes of the offset that stands for a variable part among the fixed ones.
pub(crate) const OFFSET_BYTES: usize = 4;

/// A leaf or inner node of a Merkle tree.
pub(crate) type Chunk = [u8; 32];

/// Bytes that a field of type `T` takes among the fixed parts, `None` if it is of variable size.
pub(crate) fn fixed_size<T: SimpleSerialize>() -> Option<usize> {
    if T::is_variable_size() { None } else { Some(T::size_hint()) }
}

/// Bytes of all fixed parts, offsets included.
pub(crate) fn head_bytes(fields: &[Option<usize>]) -> usize {
    fields.iter().map(|size| size.unwrap_or(OFFSET_BYTES)).sum()
}

/// Cuts an encoding into the encodings of its fields.
///
/// # Errors
/// A head that is cut off, an offset that points backwards or beyond the end, a first offset that is not the end of the
/// head, bytes that belong to no field.
pub(crate) fn split<const N: usize>(
    encoding: &[u8],
    fields: [Option<usize>; N],
) -> Result<[&[u8]; N], DeserializeError> {
    let head_length = head_bytes(&fields);
    let Some(mut head) = encoding.get(..head_length) else {
        return Err(DeserializeError::ExpectedFurtherInput { provided: encoding.len(), expected: head_length });
    };
    let mut slices = [&[][..]; N];
    // From the last field to the first: a variable part ends where the one after it begins.
    let mut end = encoding.len();
    for (slice, size) in slices.iter_mut().zip(fields).rev() {
        let (before, part) = head.split_at(head.len() - size.unwrap_or(OFFSET_BYTES));
        head = before;
        *slice = match size {
            Some(_) => part,
            None => {
                let start = offset(part)?;
                let variable = encoding.get(start..end);
                let variable = variable.ok_or(DeserializeError::OffsetNotIncreasing { start, end })?;
                end = start;
                variable
            }
        };
    }
    match end.cmp(&head_length) {
        std::cmp::Ordering::Equal => Ok(slices),
        std::cmp::Ordering::Less => Err(DeserializeError::InvalidOffsetsLength(end)),
        std::cmp::Ordering::Greater => Err(DeserializeError::AdditionalInput { provided: end, expected: head_length }),
    }
}

/// Reads an offset.
pub(crate) fn offset(part: &[u8]) -> Result<usize, DeserializeError> {
    use ssz_rs::Deserialize;
    // `u32` fits into `usize` on every machine that can hold a payload.
    u32::deserialize(part).map(|offset| offset as usize)
}

/// Appends the fixed part of `field`: itself, or room for its offset.
pub(crate) fn write_fixed<T: SimpleSerialize>(field: &T, buffer: &mut Vec<u8>) -> Result<(), SerializeError> {
    if T::is_variable_size() {
        buffer.extend_from_slice(&[0; OFFSET_BYTES]);
    } else {
        field.serialize(buffer)?;
    }
    Ok(())
}

/// Appends the variable part of `field`, if it has one, to the container that begins at `start`, and puts its offset
/// into the room at `at`. Returns where the next field's fixed part is.
pub(crate) fn write_variable<T: SimpleSerialize>(
    field: &T,
    buffer: &mut Vec<u8>,
    start: usize,
    at: usize,
) -> Result<usize, SerializeError> {
    let Some(size) = fixed_size::<T>() else {
        let position = buffer.len() - start;
        let offset = u32::try_from(position).map_err(|_| SerializeError::MaximumEncodedLengthReached(position))?;
        if let Some(room) = buffer.get_mut(at..at + OFFSET_BYTES) {
            room.copy_from_slice(&offset.to_le_bytes());
        }
        field.serialize(buffer)?;
        return Ok(at + OFFSET_BYTES);
    };
    Ok(at + size)
}

/// The root of the Merkle tree over `leaves`, padded with zero leaves to a power of two.
pub(crate) fn merkle_root(mut layer: Vec<Chunk>) -> Result<Node, MerkleizationError> {
    layer.resize(layer.len().next_power_of_two(), Chunk::default());
    while layer.len() > 1 {
        let (pairs, _) = layer.as_chunks::<2>();
        layer = pairs.iter().map(|pair| Sha256::digest(pair.as_flattened()).into()).collect();
    }
    let root = layer.first().map(|root| Node::try_from(root.as_slice()));
    root.and_then(Result::ok).ok_or(MerkleizationError::InputExceedsLimit(0))
}

/// The leaves of packed bytes: 32 bytes each, the last one padded with zeros.
pub(crate) fn leaves(bytes: &[u8]) -> Vec<Chunk> {
    let (whole, rest) = bytes.as_chunks::<32>();
    let mut leaves = Vec::with_capacity(bytes.len().div_ceil(32).next_power_of_two());
    leaves.extend_from_slice(whole);
    if !rest.is_empty() {
        let mut last = Chunk::default();
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        leaves.push(last);
    }
    leaves
}

/// A node as a leaf of the tree above it.
pub(crate) fn leaf(node: &Node) -> Chunk {
    let mut chunk = Chunk::default();
    chunk.copy_from_slice(node.as_ref());
    chunk
}

/// Implements `ssz_rs`'s traits for a struct whose fields are named in SSZ order.
macro_rules! ssz_container {
    ($name:ident { $($field:ident: $kind:ty),+ $(,)? }) => {
        impl ssz_rs::Sized for $name {
            fn is_variable_size() -> bool {
                false $(|| <$kind as ssz_rs::Sized>::is_variable_size())+
            }

            fn size_hint() -> usize {
                if <Self as ssz_rs::Sized>::is_variable_size() {
                    return 0;
                }
                $crate::container::head_bytes(&[$($crate::container::fixed_size::<$kind>()),+])
            }
        }

        impl ssz_rs::Serialize for $name {
            fn serialize(&self, buffer: &mut Vec<u8>) -> Result<usize, ssz_rs::SerializeError> {
                let start = buffer.len();
                $($crate::container::write_fixed(&self.$field, buffer)?;)+
                let at = start;
                $(let at = $crate::container::write_variable(&self.$field, buffer, start, at)?;)+
                debug_assert!(at <= buffer.len(), "the head is part of the encoding");
                Ok(buffer.len() - start)
            }
        }

        impl ssz_rs::Deserialize for $name {
            fn deserialize(encoding: &[u8]) -> Result<Self, ssz_rs::DeserializeError> {
                let fields = [$($crate::container::fixed_size::<$kind>()),+];
                let [$($field),+] = $crate::container::split(encoding, fields)?;
                Ok(Self { $($field: <$kind as ssz_rs::Deserialize>::deserialize($field)?),+ })
            }
        }

        impl ssz_rs::Merkleized for $name {
            fn hash_tree_root(&mut self) -> Result<ssz_rs::Node, ssz_rs::MerkleizationError> {
                let roots = vec![$($crate::container::leaf(&self.$field.hash_tree_root()?)),+];
                $crate::container::merkle_root(roots)
            }
        }

        impl ssz_rs::SimpleSerialize for $name {}
    };
}

pub(crate) use ssz_container;

#[cfg(test)]
mod tests;
