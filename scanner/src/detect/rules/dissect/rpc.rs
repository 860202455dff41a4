//! A reply of ONC RPC (RFC 5531 section 9), with TCP's record mark or without: `reply`, and where the version was not the
//! program's, `mismatch`. Of lists that servers give: `programs` of a port mapper (RFC 1833 section 3), `exports` of a mount
//! server (RFC 1813 section 5.2.5).

use super::{Cursor, Lines};

/// Most parts of a list that are told.
const PARTS_MAX: usize = 64;
/// Names of programs (IANA, "RPC Program Numbers").
const PROGRAMS: &[(u32, &str)] = &[
    (100_000, "portmapper"),
    (100_001, "rstatd"),
    (100_002, "rusersd"),
    (100_003, "nfs"),
    (100_004, "ypserv"),
    (100_005, "mountd"),
    (100_007, "ypbind"),
    (100_008, "walld"),
    (100_009, "yppasswdd"),
    (100_011, "rquotad"),
    (100_012, "sprayd"),
    (100_021, "nlockmgr"),
    (100_024, "status"),
    (100_068, "cmsd"),
    (100_083, "ttdbserverd"),
    (100_227, "nfs_acl"),
    (100_232, "sadmind"),
    (100_249, "snmpXdmid"),
    (300_019, "amd"),
];

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    // A record mark has its highest bit set in the last fragment (section 11); a reply's third word is 0 or 1.
    let is_marked = bytes.get(8..12)? == [0, 0, 0, 1];
    let mut reply = Cursor(if is_marked { bytes.get(4..)? } else { bytes });
    reply.u32()?;
    if reply.u32()? != 1 {
        return None;
    }
    if reply.u32()? != 0 {
        lines.put("reply", "denied");
        return Some(());
    }
    reply.u32()?;
    let length = reply.u32()?;
    reply.sized(length)?;
    let status = reply.u32()?;
    if status > 5 {
        return None;
    }
    lines.put("reply", "accepted");
    lines.put("status", status.to_string());
    match status {
        0 => {
            if let Some(programs) = programs(reply) {
                lines.put("programs", programs);
            } else if let Some(exports) = exports(reply) {
                lines.put("exports", exports);
            }
        }
        2 => {
            let (low, high) = (reply.u32()?, reply.u32()?);
            lines.put("mismatch", format!("{low} to {high}"));
        }
        _ => {}
    }
    Some(())
}

/// The list of a port mapper, each program once with its versions.
fn programs(mut list: Cursor<'_>) -> Option<String> {
    let mut found: Vec<(u32, Vec<u32>)> = Vec::new();
    while list.u32()? == 1 {
        let (program, version, protocol, port) = (list.u32()?, list.u32()?, list.u32()?, list.u32()?);
        if !matches!(protocol, 6 | 17) || port > 0xffff {
            return None;
        }
        match found.iter().position(|(known, _)| *known == program) {
            Some(at) => {
                let versions = found.get_mut(at).map(|(_, versions)| versions)?;
                if !versions.contains(&version) && versions.len() < PARTS_MAX {
                    versions.push(version);
                }
            }
            None if found.len() < PARTS_MAX => found.push((program, vec![version])),
            None => {}
        }
    }
    let name = |program: &u32| {
        let known = PROGRAMS.iter().find(|(number, _)| number == program);
        known.map_or_else(|| program.to_string(), |(_, name)| (*name).to_owned())
    };
    let parts = found.iter().map(|(program, versions)| {
        let versions: Vec<String> = versions.iter().take(8).map(u32::to_string).collect();
        format!("{} {}", name(program), versions.join("/"))
    });
    let parts: Vec<String> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The list of a mount server: directories, each with whom it is for.
fn exports(mut list: Cursor<'_>) -> Option<String> {
    let mut found = Vec::new();
    while list.u32()? == 1 {
        let directory = text(&mut list)?;
        let mut groups = Vec::new();
        while list.u32()? == 1 {
            let group = text(&mut list)?;
            if groups.len() < PARTS_MAX {
                groups.push(group);
            }
        }
        if found.len() < PARTS_MAX {
            let groups = if groups.is_empty() { "everyone".to_owned() } else { groups.join(" ") };
            found.push(format!("{directory} ({groups})"));
        }
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// A string of XDR (RFC 4506 section 4.11).
fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    let length = cursor.u32()?;
    let text = String::from_utf8_lossy(cursor.sized(length)?).into_owned();
    cursor.sized((4 - length % 4) % 4)?;
    Some(text)
}
