//! Choices that are written as one word each: the word stands once, for the key table and for reading alike.

/// Makes an enum of which every variant has its word.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $($(#[$word_doc:meta])* $choice:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$word_doc])* $choice),+
        }

        impl $name {
            /// Every word, for the key table.
            pub(super) const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl $crate::config::kind::Value for $name {
            fn of(checked: $crate::config::kind::Checked) -> Option<Self> {
                match checked {
                    $($crate::config::kind::Checked::Text(text) if text == $word => Some(Self::$choice),)+
                    _ => None,
                }
            }
        }
    };
}

pub(super) use words;
