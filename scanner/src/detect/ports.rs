//! What a port's number says before a word was exchanged: where TLS begins at once, where the server speaks first.
//!
//! These are habits, not facts: they choose what is tried first and never what is believed.

/// Whether TLS usually begins with the connection (IANA's names ending in `s`, and habit).
pub(super) fn begins_with_tls(port: u16) -> bool {
    matches!(
        port,
        443 | 465
            | 563
            | 636
            | 832
            | 853
            | 989
            | 990
            | 992
            | 993
            | 994
            | 995
            | 2083
            | 2087
            | 2096
            | 2376
            | 3269
            | 4443
            | 5061
            | 5223
            | 5349
            | 5671
            | 5986
            | 6443
            | 6514
            | 6697
            | 7443
            | 8006
            | 8443
            | 8444
            | 8883
            | 8834
            | 9443
            | 10250
            | 10257
            | 10259
            | 10443
    )
}

/// Whether the server usually speaks first, so that a client that speaks at once only disturbs.
pub(super) fn is_greeted(port: u16) -> bool {
    matches!(
        port,
        13 | 17
            | 19
            | 21
            | 22
            | 23
            | 25
            | 37
            | 110
            | 119
            | 143
            | 222
            | 465
            | 587
            | 873
            | 990
            | 992
            | 993
            | 995
            | 2022
            | 2121
            | 2200
            | 2222
            | 2323
            | 2525
            | 3306
            | 3310
            | 3690
            | 4190
            | 5900..=5910 | 6600 | 8022 | 10022 | 22022 | 22222 | 33060
    )
}

/// Whether servers of SSH usually listen there, who may say whatever else before their own line (RFC 4253 section 4.2).
pub(super) fn greets_by_ssh(port: u16) -> bool {
    matches!(port, 22 | 222 | 2022 | 2200 | 2222 | 8022 | 10022 | 22022 | 22222)
}

/// Whether servers that begin with a packet of MySQL's protocol usually listen there.
pub(super) fn greets_by_packet(port: u16) -> bool {
    port == 3306
}

/// Whether servers of this port turn away whoever speaks before their greeting, however late that is (SMTP, RFC 5321
/// section 4.3.1).
pub(super) fn punishes_early_talk(port: u16) -> bool {
    matches!(port, 25 | 587 | 2525)
}
