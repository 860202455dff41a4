//! Stable words for the variants of an enum, each written once: the word of one, and the list of all.
//!
//! Words go to programs (documents, events, error codes), so they are not made from the variants' names; the list lets
//! a test ask for every one of them. A variant without a word does not compile.

/// Gives `$type` the method `$word`, which names a variant, and `$all`, the words of all variants in their order.
macro_rules! names {
    ($type:ident, $word:ident, $all:ident: $($variant:ident => $name:literal),+ $(,)?) => {
        impl $type {
            /// The words of all of them, in their order.
            pub const $all: &[&str] = &[$($name),+];

            /// A stable word for programs.
            #[must_use]
            pub fn $word(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)+
                }
            }
        }
    };
}

pub(crate) use names;
