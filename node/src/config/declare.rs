//! Declaring groups of keys: one declaration makes the struct, its documentation, its defaults and its parser.

use super::setting::Raw;

/// A key as its declaration describes it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name within the group.
    pub name: &'static str,
    /// What it sets, line by line.
    pub docs: &'static [&'static str],
    /// What a value looks like; continues "must be".
    pub shape: &'static str,
}

/// A group of keys: a table of the file.
#[derive(Clone, Copy, Debug)]
pub struct GroupInfo {
    /// Name of the table.
    pub name: &'static str,
    /// What the group is about, line by line.
    pub docs: &'static [&'static str],
    /// Its keys, in the order of their declaration.
    pub keys: &'static [Key],
}

/// Why a value cannot be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such key.
    UnknownKey,
    /// The value, or the part of a list that is given, does not fit.
    Mismatch { found: Raw, shape: &'static str },
}

/// What each group can do; implemented by [`group!`] alone.
pub(super) trait Group: Default {
    const DOCS: &'static [&'static str];
    const KEYS: &'static [Key];

    /// Sets `key` to what `raw` says.
    fn set(&mut self, key: &str, raw: &Raw) -> Result<(), Refusal>;

    /// The value of `key` in TOML's notation; `None` if it is not set (or not known).
    fn show(&self, key: &str) -> Option<String>;
}

/// Declares one group.
macro_rules! group {
    (
        $(#[doc = $group_doc:literal])+
        pub struct $Group:ident {
            $($(#[doc = $doc:literal])+ pub $field:ident: $Type:ty = $default:expr,)+
        }
    ) => {
        $(#[doc = $group_doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $Group {
            $($(#[doc = $doc])+ pub $field: $Type,)+
        }

        impl Default for $Group {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $crate::config::declare::Group for $Group {
            const DOCS: &'static [&'static str] = &[$($group_doc,)+];
            const KEYS: &'static [$crate::config::Key] = &[$($crate::config::Key {
                name: stringify!($field),
                docs: &[$($doc,)+],
                shape: <$Type as $crate::config::Setting>::SHAPE,
            },)+];

            fn set(
                &mut self,
                key: &str,
                raw: &$crate::config::Raw,
            ) -> Result<(), $crate::config::declare::Refusal> {
                match key {
                    $(stringify!($field) => self.$field = $crate::config::declare::read(raw)?,)+
                    _ => return Err($crate::config::declare::Refusal::UnknownKey),
                }
                Ok(())
            }

            fn show(&self, key: &str) -> Option<String> {
                match key {
                    $(stringify!($field) => $crate::config::Setting::to_toml(&self.$field),)+
                    _ => None,
                }
            }
        }
    };
}

/// Declares the whole out of its groups; each field is a table of that name.
macro_rules! configuration {
    (
        $(#[doc = $doc:literal])+
        pub struct $Config:ident {
            $($(#[doc = $field_doc:literal])+ pub $field:ident: $Group:ty,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $Config {
            $($(#[doc = $field_doc])+ pub $field: $Group,)+
        }

        impl $Config {
            /// Every group with its keys.
            pub const GROUPS: &'static [$crate::config::GroupInfo] = &[$($crate::config::GroupInfo {
                name: stringify!($field),
                docs: <$Group as $crate::config::declare::Group>::DOCS,
                keys: <$Group as $crate::config::declare::Group>::KEYS,
            },)+];

            /// Sets `group.key` to what `raw` says.
            pub(super) fn set(
                &mut self,
                group: &str,
                key: &str,
                raw: &$crate::config::Raw,
            ) -> Result<(), $crate::config::declare::Refusal> {
                use $crate::config::declare::Group as _;
                match group {
                    $(stringify!($field) => self.$field.set(key, raw),)+
                    _ => Err($crate::config::declare::Refusal::UnknownKey),
                }
            }

            /// The value of `group.key` in TOML's notation; `None` if it is not set (or not known).
            pub fn show(&self, group: &str, key: &str) -> Option<String> {
                use $crate::config::declare::Group as _;
                match group {
                    $(stringify!($field) => self.$field.show(key),)+
                    _ => None,
                }
            }
        }
    };
}

pub(super) use {configuration, group};

/// Reads a value of type `T`, or says what shape it should have had.
pub(super) fn read<T: super::Setting>(raw: &Raw) -> Result<T, Refusal> {
    T::read(raw).map_err(|found| Refusal::Mismatch { found, shape: T::SHAPE })
}
