//! Management, directories and remote procedures: SNMP, LDAP, Kerberos, RADIUS, ONC RPC, Rx.

use super::ber::{
    BIT_STRING, BOOLEAN, ENUMERATED, GENERAL_STRING, GENERALIZED_TIME, INTEGER, NULL, OCTETS, OID, SEQUENCE, number,
    value,
};
use super::{Ask, Fit, Payload, contains, has_at};

/// `1.3.6.1.2.1.1.1.0`, sysDescr.0 (RFC 3418 section 2).
const SYS_DESCR: [u8; 8] = [0x2b, 6, 1, 2, 1, 1, 1, 0];
/// `1.3.6.1.2.1.1.2.0` and `1.3.6.1.2.1.1.5.0`, sysObjectID.0 and sysName.0.
const SYS_OBJECT_ID: [u8; 8] = [0x2b, 6, 1, 2, 1, 1, 2, 0];
const SYS_NAME: [u8; 8] = [0x2b, 6, 1, 2, 1, 1, 5, 0];

/// The token as a request id.
fn request_id(ask: &Ask) -> Vec<u8> {
    value(INTEGER, &[&ask.id31()])
}

/// A message that is a sequence has the request's id in it.
fn fits_id(ask: &Ask, answer: &[u8]) -> Fit {
    (answer.first() == Some(&SEQUENCE)).then(|| contains(answer, &request_id(ask)))
}

/// `GetRequest` for these with the community `public` (RFC 1157 section 4.1.2, RFC 3416 section 4.2.1).
fn get(ask: &Ask, version: u8, wanted: &[&[u8; 8]]) -> Vec<u8> {
    let bindings: Vec<u8> =
        wanted.iter().flat_map(|oid| value(SEQUENCE, &[&value(OID, &[*oid]), &[NULL, 0]])).collect();
    let bindings = value(SEQUENCE, &[&bindings]);
    let request = value(0xa0, &[&request_id(ask), &number(0), &number(0), &bindings]);
    value(SEQUENCE, &[&number(version), &value(OCTETS, &[b"public"]), &request])
}

/// SNMPv1 (RFC 1157), for one value: an agent that lacks one of several gives none.
pub(super) static SNMP_V1: Payload =
    Payload { name: "snmp v1 sysDescr", write: |ask| get(ask, 0, &[&SYS_DESCR]), fits: fits_id };

/// SNMPv2c (RFC 1901), for what names the product and the host too.
pub(super) static SNMP_V2C: Payload = Payload {
    name: "snmp v2c sysDescr",
    write: |ask| get(ask, 1, &[&SYS_DESCR, &SYS_OBJECT_ID, &SYS_NAME]),
    fits: fits_id,
};

/// The engine's id, which every SNMPv3 agent reports to whoever asks (RFC 3412 section 6, RFC 3414 section 4).
pub(super) static SNMP_V3: Payload = Payload {
    name: "snmp v3 engine",
    write: |ask| {
        let none = value(OCTETS, &[]);
        let id = request_id(ask);
        let max_size = value(INTEGER, &[&[0, 0xff, 0xe3]]);
        // Reportable, neither authenticated nor private; the user-based security model.
        let header = value(SEQUENCE, &[&id, &max_size, &value(OCTETS, &[&[4]]), &number(3)]);
        let security = value(SEQUENCE, &[&none, &number(0), &number(0), &none, &none, &none]);
        let request = value(0xa0, &[&id, &number(0), &number(0), &value(SEQUENCE, &[])]);
        let scoped = value(SEQUENCE, &[&none, &none, &request]);
        value(SEQUENCE, &[&number(3), &header, &value(OCTETS, &[&security]), &scoped])
    },
    fits: fits_id,
};

/// The root entry over connectionless LDAP (RFC 1798 for the transport, RFC 4511 section 4.5.1 for the search, MS-ADTS
/// section 3.1.1.3.2 for the attributes).
pub(super) static CLDAP: Payload = Payload {
    name: "cldap root",
    write: |ask| {
        let zero = [ENUMERATED, 1, 0];
        let present = value(0x87, &[b"objectClass"]);
        let attributes =
            value(SEQUENCE, &[&value(OCTETS, &[b"defaultNamingContext"]), &value(OCTETS, &[b"dnsHostName"])]);
        let search = value(
            0x63,
            &[&value(OCTETS, &[]), &zero, &zero, &number(0), &number(5), &[BOOLEAN, 1, 0], &present, &attributes],
        );
        value(SEQUENCE, &[&request_id(ask), &search])
    },
    fits: fits_id,
};

/// A request for a ticket of a realm that cannot exist (RFC 4120 section 5.4.1): every KDC answers with an error.
pub(super) static KERBEROS: Payload = Payload {
    name: "kerberos as-req",
    write: |ask| {
        let text = |text: &[u8]| value(GENERAL_STRING, &[text]);
        let realm = text(b"PENTORA.INVALID");
        let name = |kind, parts: &[&[u8]]| {
            value(SEQUENCE, &[&value(0xa0, &[&number(kind)]), &value(0xa1, &[&value(SEQUENCE, parts)])])
        };
        let types = value(SEQUENCE, &[&number(18), &number(17), &number(23)]);
        let body = value(
            SEQUENCE,
            &[
                &value(0xa0, &[&value(BIT_STRING, &[&[0, 0, 0, 0, 0]])]),
                &value(0xa1, &[&name(1, &[&text(b"probe")])]),
                &value(0xa2, &[&realm]),
                &value(0xa3, &[&name(2, &[&text(b"krbtgt"), &realm])]),
                &value(0xa5, &[&value(GENERALIZED_TIME, &[b"20370101000000Z"])]),
                &value(0xa7, &[&request_id(ask)]),
                &value(0xa8, &[&types]),
            ],
        );
        let request =
            value(SEQUENCE, &[&value(0xa1, &[&number(5)]), &value(0xa2, &[&number(10)]), &value(0xa4, &[&body])]);
        value(0x6a, &[&request])
    },
    // An error does not repeat the nonce.
    fits: |_, _| None,
};

/// `Access-Request` (RFC 2865 section 4.1); the answer repeats the identifier (section 3). Most servers are silent to
/// whom they do not know.
pub(super) static RADIUS: Payload = Payload {
    name: "radius access-request",
    write: |ask| {
        let [id, ..] = ask.token;
        let attributes = [&[1, 7][..], b"probe", &[2, 18], &ask.noise(16), &[4, 6, 127, 0, 0, 1]].concat();
        let length = u8::try_from(20 + attributes.len()).unwrap_or(u8::MAX);
        [&[1, id, 0, length][..], &ask.noise(16), &attributes].concat()
    },
    fits: |ask, answer| {
        let [id, ..] = ask.token;
        let is_radius = matches!(answer.first(), Some(2 | 3 | 11)) && answer.len() >= 20;
        if is_radius { has_at(answer, 1, &[id]) } else { None }
    },
};

/// A call without credentials (RFC 5531 section 9).
fn call(ask: &Ask, program: u32, version: u8, procedure: u8) -> Vec<u8> {
    let word = |small: u8| [0, 0, 0, small];
    let head = [ask.id31(), word(0), word(2), program.to_be_bytes(), word(version), word(procedure)].concat();
    [head, vec![0; 16]].concat()
}

/// A reply repeats the transaction id (RFC 5531 section 9).
fn fits_call(ask: &Ask, answer: &[u8]) -> Fit {
    if has_at(answer, 4, &[0, 0, 0, 1])? { has_at(answer, 0, &ask.id31()) } else { None }
}

/// What is registered with the port mapper, version 2 (RFC 1833 section 3).
pub(super) static PORTMAP: Payload =
    Payload { name: "portmap dump", write: |ask| call(ask, 100_000, 2, 4), fits: fits_call };

/// The null procedure of NFS version 3 (RFC 1813 section 3.3.0).
pub(super) static NFS: Payload = Payload { name: "nfs null", write: |ask| call(ask, 100_003, 3, 0), fits: fits_call };

/// The null procedure of the mount protocol (RFC 1813 section 5.2.0).
pub(super) static MOUNT: Payload =
    Payload { name: "mount null", write: |ask| call(ask, 100_005, 3, 0), fits: fits_call };

/// The null procedure of VxWorks' debug agent, an ONC RPC program of its vendor.
pub(super) static WDB: Payload =
    Payload { name: "wdb null", write: |ask| call(ask, 0x5555_5555, 1, 0), fits: fits_call };

/// The version of an AFS server: an Rx packet of type 13 (OpenAFS, Rx protocol specification), whose answer is of the
/// same connection.
pub(super) static RX: Payload = Payload {
    name: "rx version",
    write: |ask| {
        let head = [ask.id31(), [0, 0, 0, 0x70], [0; 4], [0; 4], [0, 0, 0, 1]].concat();
        [head, vec![13, 5, 0, 0, 0, 0, 0, 0], vec![0; 65]].concat()
    },
    fits: |ask, answer| if answer.get(20) == Some(&13) { has_at(answer, 0, &ask.id31()) } else { None },
};
