//! Orders that carry their author: what somebody asked to be scanned, until when, with a signature under it.
//!
//! What is signed is the text that travels ([`SignedOrder::order`]), to the byte: nobody writes it anew to check it. It is JSON,
//! so that people can read what they sign; decision 0060 has its fields. Whether a job's spec is within its order is the business
//! of `jobs`, and whose orders a node takes that of its own file.

use data_encoding::BASE64URL_NOPAD;
use pentora_scanner::finding::plain_text;
use serde::{Deserialize, Serialize};

use crate::clock::rfc3339;
use crate::document::{ScanRequest, SignedOrder};
use crate::signing::{PersonKey, SignerKey};

/// What is signed, and in which version of its form.
const KIND: &str = "pentora order v1";
/// The version that stands in the text as well.
const VERSION: u32 = 1;
/// The longest order, in bytes. Ours: it travels with the spec of its job, which nodes keep as a chunk.
pub const ORDER_BYTES_MAX: usize = 4 << 20;
/// How far a clock may be behind that of whoever signed, in milliseconds.
const AHEAD_MS_MAX: u64 = 10 * 60 * 1000;
/// Hex digits of an order's id.
const ID_DIGITS: usize = 32;

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    version: u32,
    /// Drawn for each order, so that one that asks for a single job is taken for a single job.
    pub id: String,
    /// When it was signed, unix milliseconds.
    pub issued_at_ms: u64,
    /// From when on nothing of it is begun, unix milliseconds.
    pub expires_at_ms: u64,
    /// When it is to be repeated until then; `None` for a single job.
    pub repeats: Option<Repeats>,
    /// What is to be scanned, and how.
    pub request: ScanRequest,
}

/// The times of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeats {
    /// As in cron.
    pub cron: String,
    /// The time zone of the times.
    pub timezone: String,
}

/// An order whose signature was verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// What it says.
    pub order: Order,
    /// Who signed it.
    pub signer: SignerKey,
}

/// What is wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Its key or signature are none.
    #[error("the order's {0} cannot be read")]
    Unreadable(&'static str),
    /// The signature is of something else, or of somebody else.
    #[error("the order was not signed by {key}: it was altered, or the signature is another's")]
    NotSigned {
        /// Who is said to have signed it.
        key: SignerKey,
    },
    /// The text is no order of this release.
    #[error("the order cannot be read: {0}")]
    Malformed(String),
    /// It asks for what its author cannot know.
    #[error("{0}")]
    Unsignable(&'static str),
    /// It is over.
    #[error("the order expired at {}", rfc3339(*at_ms))]
    Expired {
        /// When, unix milliseconds.
        at_ms: u64,
    },
    /// It is not begun.
    #[error("the order was signed at {}, which is to come: compare the clocks", rfc3339(*at_ms))]
    NotYet {
        /// When, unix milliseconds.
        at_ms: u64,
    },
}

/// Signs a request: `now_ms` is when, and `valid_ms` for how long it holds.
///
/// # Errors
/// [`OrderError::Unsignable`] and [`OrderError::Malformed`].
pub fn sign(
    request: &ScanRequest,
    repeats: Option<Repeats>,
    (now_ms, valid_ms): (u64, u64),
    key: &PersonKey,
) -> Result<SignedOrder, OrderError> {
    let order = Order {
        version: VERSION,
        id: hex::encode(rand::random::<[u8; ID_DIGITS / 2]>()),
        issued_at_ms: now_ms,
        expires_at_ms: now_ms.saturating_add(valid_ms),
        repeats,
        request: ScanRequest { order: None, ..request.clone() },
    };
    order.check()?;
    let text = serde_json::to_string(&order).map_err(|error| OrderError::Malformed(error.to_string()))?;
    if text.len() > ORDER_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let signature = BASE64URL_NOPAD.encode(&key.sign(KIND, text.as_bytes()));
    Ok(SignedOrder { order: text, key: key.public().to_string(), signature })
}

/// Why a longer order is refused.
const TOO_LONG: OrderError =
    OrderError::Unsignable("an order that is signed has at most 4 MiB: name networks in place of single addresses");

/// Verifies the signature and reads what was signed. Says nothing of when it holds.
///
/// # Errors
/// [`OrderError`].
pub fn verify(signed: &SignedOrder) -> Result<Verified, OrderError> {
    if signed.order.len() > ORDER_BYTES_MAX {
        return Err(TOO_LONG);
    }
    let signer: SignerKey = signed.key.parse().map_err(|_named| OrderError::Unreadable("key"))?;
    let signature = BASE64URL_NOPAD.decode(signed.signature.as_bytes());
    let signature = signature.map_err(|_named| OrderError::Unreadable("signature"))?;
    if !signer.signed(KIND, signed.order.as_bytes(), &signature) {
        return Err(OrderError::NotSigned { key: signer });
    }
    let order: Result<Order, _> = serde_json::from_str(&signed.order);
    // It quotes the order, which may have been signed by anybody.
    let order = order.map_err(|error| OrderError::Malformed(plain_text(&error.to_string()).into_owned()))?;
    order.check()?;
    Ok(Verified { order, signer })
}

/// The order that travels with a spec, if it has one that reads.
#[must_use]
pub fn carried(text: Option<&str>) -> Option<SignedOrder> {
    serde_json::from_str(text?).ok()
}

/// Which order is which, whether it holds or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderId {
    /// Drawn for each order.
    pub id: String,
    /// Whether it is a schedule's.
    pub repeats: bool,
}

/// The id of an order whose text reads. Says nothing of its signature.
#[must_use]
pub fn id_of(signed: &SignedOrder) -> Option<OrderId> {
    let order: Order = serde_json::from_str(&signed.order).ok()?;
    Some(OrderId { id: order.id, repeats: order.repeats.is_some() })
}

/// An order as it travels with a spec.
#[must_use]
pub fn to_carry(signed: &SignedOrder) -> Option<String> {
    serde_json::to_string(signed).ok()
}

impl Order {
    /// Holds the order against itself.
    fn check(&self) -> Result<(), OrderError> {
        let malformed = |what: &str| Err(OrderError::Malformed(what.to_owned()));
        if self.version != VERSION {
            return malformed("it is of another version: update this node, or sign with its release");
        }
        if self.id.len() != ID_DIGITS || !self.id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return malformed("its id is not 32 hex digits");
        }
        if self.expires_at_ms <= self.issued_at_ms {
            return malformed("it ends before it begins");
        }
        if self.request.order.is_some() {
            return malformed("it holds another order");
        }
        if self.request.learned {
            return Err(OrderError::Unsignable(
                "learned ports are the cluster's choice, which nobody can sign beforehand: name the ports",
            ));
        }
        Ok(())
    }

    /// Whether it holds at an instant of this machine's own clock.
    ///
    /// # Errors
    /// [`OrderError::Expired`] and [`OrderError::NotYet`].
    pub fn holds_at(&self, now_ms: u64) -> Result<(), OrderError> {
        if now_ms >= self.expires_at_ms {
            return Err(OrderError::Expired { at_ms: self.expires_at_ms });
        }
        if self.issued_at_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Err(OrderError::NotYet { at_ms: self.issued_at_ms });
        }
        Ok(())
    }

    /// Whether this is what was asked for, whatever order is kept beside it. A seed that was not signed is anybody's choice, and
    /// so is whether the job waits for its hour or for a node.
    #[must_use]
    pub fn asks_for(&self, request: &ScanRequest) -> bool {
        let request = ScanRequest {
            order: None,
            seed: self.request.seed.and(request.seed),
            wait_for_window: self.request.wait_for_window,
            wait_for_worker: self.request.wait_for_worker,
            ..request.clone()
        };
        self.request == request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn request() -> ScanRequest {
        ScanRequest { targets: vec!["10.0.0.0/24".into()], ports: Some("22".into()), ..ScanRequest::default() }
    }

    fn signed(key: &PersonKey) -> SignedOrder {
        sign(&request(), None, (NOW, 60_000), key).unwrap()
    }

    #[test]
    fn an_order_says_who_asked_for_what_and_until_when() {
        let key = PersonKey::generate();
        let signed = signed(&key);
        let Verified { order, signer } = verify(&signed).unwrap();
        assert_eq!((signer, order.repeats.as_ref()), (key.public(), None));
        assert!(order.asks_for(&ScanRequest { order: Some(signed.clone()), seed: Some(7), ..request() }));
        assert!(!order.asks_for(&ScanRequest { targets: vec!["10.0.0.0/23".into()], ..request() }));
        assert_eq!(order.holds_at(NOW + 59_999), Ok(()));
        assert_eq!(order.holds_at(NOW + 60_000), Err(OrderError::Expired { at_ms: NOW + 60_000 }));
        assert_eq!(order.holds_at(NOW - AHEAD_MS_MAX - 1), Err(OrderError::NotYet { at_ms: NOW }));
        assert_eq!(id_of(&signed), Some(OrderId { id: order.id, repeats: false }));
        assert_eq!(carried(to_carry(&signed).as_deref()), Some(signed));
        assert_eq!(carried(Some("x")).or(carried(None)), None);
    }

    #[test]
    fn an_altered_order_another_key_and_a_signature_under_something_else_are_refused() {
        let key = PersonKey::generate();
        let good = signed(&key);
        let altered = SignedOrder { order: good.order.replace("10.0.0.0/24", "10.0.0.0/8"), ..good.clone() };
        let anothers = SignedOrder { key: PersonKey::generate().public().to_string(), ..good.clone() };
        let bare = data_encoding::BASE64URL_NOPAD.encode(&key.sign("pentora order v2", good.order.as_bytes()));
        let of_another_kind = SignedOrder { signature: bare, ..good.clone() };
        for bad in [altered, anothers, of_another_kind] {
            assert!(matches!(verify(&bad), Err(OrderError::NotSigned { .. })), "{bad:?}");
        }
        assert_eq!(verify(&SignedOrder { key: "k".into(), ..good.clone() }), Err(OrderError::Unreadable("key")));
        let unreadable = verify(&SignedOrder { signature: "?".into(), ..good });
        assert_eq!(unreadable, Err(OrderError::Unreadable("signature")));
    }

    #[test]
    fn what_is_signed_and_yet_no_order_is_refused_with_the_reason() {
        let key = PersonKey::generate();
        let text = signed(&key).order;
        for (from, to, part) in [
            ("\"version\":1", "\"version\":2", "another version"),
            ("\"version\":1", "\"version\":1,\"more\":1", "unknown field `more`"),
            ("\"version\":1", "\"version\":1,\"version\":1", "duplicate field"),
            // Found by fuzzing: it was quoted as it is.
            ("\"version\":1", "\"version\":1,\"a\\nb\\u001b[2J\":1", "unknown field `a b\u{fffd}[2J`"),
            ("\"expires_at_ms\":1800000060000", "\"expires_at_ms\":1800000000000", "ends before it begins"),
            ("\"ports\":\"22\"", "\"ports\":\"22\",\"learned\":true", "the cluster's choice"),
        ] {
            let order = text.replace(from, to);
            assert_ne!(order, text);
            let signature = data_encoding::BASE64URL_NOPAD.encode(&key.sign(KIND, order.as_bytes()));
            let error = verify(&SignedOrder { order, key: key.public().to_string(), signature }).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        let learned = ScanRequest { learned: true, ..request() };
        assert!(matches!(sign(&learned, None, (NOW, 1), &key), Err(OrderError::Unsignable(_))));
    }
}
