//! Which service usually listens on a port: a guess from the number alone, never an identification.
//!
//! Names are those of IANA's service name registry; where a port is known today for something that is registered
//! under no name or another one (6379, 9200, 27017...), it is that name. Written by hand.

use super::Protocol;

const T: u8 = 1;
const U: u8 = 2;
const B: u8 = T | U;

/// The usual service of a port, if it has one.
///
/// ```
/// use pentora_scanner::port::{Protocol, service_name};
/// assert_eq!(service_name(22, Protocol::Tcp), Some("ssh"));
/// assert_eq!(service_name(514, Protocol::Udp), Some("syslog"));
/// ```
#[must_use]
pub fn service_name(port: u16, protocol: Protocol) -> Option<&'static str> {
    let from = SERVICES.partition_point(|(number, ..)| *number < port);
    let same = SERVICES.get(from..)?.iter().take_while(|(number, ..)| *number == port);
    same.filter(|(_, protocols, _)| protocols & flag(protocol) != 0).map(|(.., name)| *name).next()
}

/// The ports of a service, by its name in lower case.
pub(super) fn ports_of(name: &str, protocol: Protocol) -> impl Iterator<Item = u16> {
    SERVICES
        .iter()
        .filter(move |(_, protocols, known)| *known == name && protocols & flag(protocol) != 0)
        .map(|(number, ..)| *number)
}

/// Every port that has a name.
pub(crate) fn named_ports() -> impl Iterator<Item = (Protocol, u16)> {
    let tcp = named_tcp_ports().map(|port| (Protocol::Tcp, port));
    tcp.chain(named_udp_ports().map(|port| (Protocol::Udp, port)))
}

/// Every TCP port that has a name, ascending.
pub(super) fn named_tcp_ports() -> impl Iterator<Item = u16> {
    SERVICES.iter().filter(|(_, protocols, _)| protocols & T != 0).map(|(number, ..)| *number)
}

/// Every UDP port that has a name, ascending.
pub(super) fn named_udp_ports() -> impl Iterator<Item = u16> {
    SERVICES.iter().filter(|(_, protocols, _)| protocols & U != 0).map(|(number, ..)| *number)
}

fn flag(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => T,
        Protocol::Udp => U,
    }
}

/// Port, protocols, name; ascending by port.
#[rustfmt::skip]
static SERVICES: &[(u16, u8, &str)] = &[
    (1, B, "tcpmux"), (5, B, "rje"), (7, B, "echo"), (9, B, "discard"), (11, B, "systat"), (13, B, "daytime"),
    (15, T, "netstat"), (17, B, "qotd"), (18, B, "msp"), (19, B, "chargen"), (20, T, "ftp-data"), (21, T, "ftp"),
    (22, B, "ssh"), (23, T, "telnet"), (25, T, "smtp"), (37, B, "time"), (42, B, "nameserver"), (43, T, "whois"),
    (49, B, "tacacs"), (53, B, "domain"), (67, U, "bootps"), (68, U, "bootpc"), (69, U, "tftp"), (70, T, "gopher"),
    (79, T, "finger"), (80, B, "http"), (81, T, "http-alt"), (82, T, "http-alt"), (83, T, "http-alt"),
    (84, T, "http-alt"), (85, T, "http-alt"), (88, B, "kerberos"), (102, T, "iso-tsap"), (104, T, "acr-nema"),
    (106, T, "poppassd"), (107, B, "rtelnet"), (109, T, "pop2"), (110, T, "pop3"), (111, B, "sunrpc"), (113, B, "auth"),
    (115, T, "sftp"), (119, T, "nntp"), (123, B, "ntp"), (135, B, "epmap"), (137, B, "netbios-ns"),
    (138, B, "netbios-dgm"), (139, B, "netbios-ssn"), (143, T, "imap"), (161, B, "snmp"), (162, B, "snmptrap"),
    (163, B, "cmip-man"), (164, B, "cmip-agent"), (174, T, "mailq"), (177, B, "xdmcp"), (179, T, "bgp"),
    (194, B, "irc"), (199, T, "smux"), (201, B, "at-rtmp"), (209, T, "qmtp"), (210, T, "z3950"), (213, B, "ipx"),
    (220, T, "imap3"), (256, T, "fw1-secureremote"), (259, B, "esro-gen"), (264, T, "bgmp"), (319, U, "ptp-event"),
    (320, U, "ptp-general"), (345, B, "pawserv"), (346, B, "zserv"), (366, T, "odmr"), (369, B, "rpc2portmap"),
    (370, B, "codaauth2"), (371, B, "clearcase"), (383, T, "hp-alarm-mgr"), (387, B, "aurp"), (389, B, "ldap"),
    (401, B, "ups"), (406, T, "imsp"), (407, B, "timbuktu"), (427, B, "svrloc"), (434, U, "mobileip-agent"),
    (443, B, "https"), (444, T, "snpp"), (445, B, "microsoft-ds"), (464, B, "kpasswd"), (465, T, "smtps"),
    (487, B, "saft"), (497, U, "retrospect"), (500, U, "isakmp"), (502, T, "modbus"), (512, T, "exec"),
    (512, U, "biff"), (513, T, "login"), (513, U, "who"), (514, T, "shell"), (514, U, "syslog"), (515, T, "printer"),
    (517, U, "talk"), (518, U, "ntalk"), (520, T, "efs"), (520, U, "route"), (521, U, "ripng"), (523, U, "ibm-db2-das"),
    (524, B, "ncp"), (525, U, "timed"), (530, T, "courier"), (531, T, "conference"), (532, T, "netnews"),
    (533, U, "netwall"), (540, T, "uucp"), (543, T, "klogin"), (544, T, "kshell"), (546, U, "dhcpv6-client"),
    (547, U, "dhcpv6-server"), (548, T, "afpovertcp"), (554, B, "rtsp"), (556, T, "remotefs"), (563, T, "nntps"),
    (587, T, "submission"), (591, T, "http-alt"), (593, B, "http-rpc-epmap"), (601, T, "syslog-conn"), (607, B, "nqs"),
    (610, B, "npmp-local"), (611, B, "npmp-gui"), (612, B, "hmmp-ind"), (623, U, "asf-rmcp"), (623, T, "oob-ws-http"),
    (625, T, "dec-dlm"), (626, U, "asia"), (628, B, "qmqp"), (631, B, "ipp"), (636, T, "ldaps"), (639, T, "msdp"),
    (646, B, "ldp"), (648, T, "rrp"), (655, B, "tinc"), (660, T, "mac-srvr-admin"), (664, U, "asf-secure-rmcp"),
    (664, T, "oob-ws-https"), (666, B, "doom"), (674, T, "acap"), (691, T, "msexch-routing"), (694, U, "ha-cluster"),
    (698, U, "olsr"), (700, T, "epp"), (706, T, "silc"), (711, T, "cisco-tdp"), (749, B, "kerberos-adm"),
    (750, U, "kerberos-iv"), (751, B, "kerberos-master"), (754, T, "krb-prop"), (760, T, "krbupdate"),
    (765, B, "webster"), (777, T, "multiling-http"), (783, T, "spamassassin"), (800, T, "mdbs-daemon"),
    (808, T, "ccproxy-http"), (829, T, "pkix-3-ca-ra"), (830, T, "netconf-ssh"), (831, T, "netconf-beep"),
    (832, T, "netconfsoaphttp"), (847, T, "dhcp-failover2"), (848, B, "gdoi"), (853, B, "domain-s"), (860, T, "iscsi"),
    (861, B, "owamp-control"), (862, B, "twamp-control"), (871, T, "supfilesrv"), (873, T, "rsync"),
    (888, T, "accessbuilder"), (898, T, "sun-manageconsole"), (902, T, "ideafarm-door"), (903, T, "ideafarm-panic"),
    (911, T, "xact-backup"), (953, T, "rndc"), (989, T, "ftps-data"), (990, T, "ftps"), (991, B, "nas"),
    (992, T, "telnets"), (993, T, "imaps"), (994, T, "ircs"), (995, T, "pop3s"), (1010, B, "surf"),
    (1023, T, "netvenuechat"), (1025, T, "blackjack"), (1027, U, "6a44"), (1080, T, "socks"), (1085, T, "webobjects"),
    (1089, T, "ff-annunc"), (1090, T, "ff-fms"), (1091, T, "ff-sm"), (1093, T, "proofd"), (1098, T, "rmiactivation"),
    (1099, T, "rmiregistry"), (1110, T, "webadmstart"), (1119, T, "bnetgame"), (1167, U, "cisco-ipsla"),
    (1178, T, "skkserv"), (1191, T, "gpfs"), (1194, B, "openvpn"), (1214, B, "kazaa"), (1234, T, "search-agent"),
    (1241, T, "nessus"), (1270, T, "opsmgr"), (1311, T, "rxmon"), (1337, T, "menandmice-dns"), (1352, T, "lotusnote"),
    (1414, T, "ibm-mqseries"), (1417, T, "timbuktu-srv1"), (1433, B, "ms-sql-s"), (1434, U, "ms-sql-m"),
    (1494, T, "ica"), (1500, T, "vlsi-lm"), (1501, T, "sas-3"), (1503, T, "imtc-mcs"), (1512, B, "wins"),
    (1521, T, "oracle"), (1522, T, "rna-lm"), (1524, T, "ingreslock"), (1525, T, "oracle"), (1526, T, "oracle"),
    (1527, T, "tlisrv"), (1604, U, "icabrowser"), (1645, U, "radius"), (1646, U, "radacct"), (1649, T, "kermit"),
    (1666, T, "netview-aix-6"), (1677, T, "groupwise"), (1688, T, "nsjtp-data"), (1700, T, "mps-raft"),
    (1701, U, "l2tp"), (1718, U, "h323gatedisc"), (1719, U, "h323gatestat"), (1720, T, "h323hostcall"),
    (1723, T, "pptp"), (1755, B, "ms-streaming"), (1761, T, "landesk-rc"), (1801, T, "msmq"), (1812, B, "radius"),
    (1813, B, "radius-acct"), (1863, T, "msnp"), (1883, B, "mqtt"), (1900, U, "ssdp"), (1911, T, "fox"),
    (1911, U, "mtp"), (1935, T, "macromedia-fcs"), (1947, B, "sentinelsrm"), (1962, T, "biap-mp"),
    (1984, T, "bigbrother"), (1985, U, "hsrp"), (1998, T, "x25-svc-port"), (1999, T, "tcp-id-port"),
    (2000, T, "cisco-sccp"), (2001, T, "dc"), (2002, T, "globe"), (2003, T, "graphite"), (2049, B, "nfs"),
    (2082, T, "cpanel"), (2083, T, "cpanels"), (2086, T, "whm"), (2087, T, "whms"), (2095, T, "webmail"),
    (2096, T, "webmails"), (2100, T, "amiganetfs"), (2102, T, "zephyr-srv"), (2103, T, "zephyr-clt"),
    (2104, T, "zephyr-hm"), (2105, T, "eklogin"), (2121, T, "ccproxy-ftp"), (2123, U, "gtp-control"),
    (2152, U, "gtp-user"), (2161, T, "apc-agent"), (2181, T, "zookeeper"), (2222, T, "ssh-alt"),
    (2222, U, "ethernet-ip-io"), (2301, T, "compaqdiag"), (2323, T, "telnet-alt"), (2375, T, "docker"),
    (2376, T, "docker-s"), (2377, T, "swarm"), (2379, T, "etcd-client"), (2380, T, "etcd-server"),
    (2381, T, "compaq-https"), (2401, T, "cvspserver"), (2404, T, "iec-104"), (2427, U, "mgcp-gateway"),
    (2456, T, "altav-remmgt"), (2483, T, "ttc"), (2484, T, "ttc-ssl"), (2525, T, "smtp-alt"),
    (2598, T, "citriximaclient"), (2601, T, "zebra"), (2602, T, "ripd"), (2604, T, "ospfd"), (2605, T, "bgpd"),
    (2628, T, "dict"), (2638, T, "sybaseanywhere"), (2701, T, "sms-rcinfo"), (2717, T, "pn-requester"),
    (2727, B, "mgcp-callagent"), (2761, T, "dicom-iscl"), (2762, T, "dicom-tls"), (2809, T, "corbaloc"),
    (2869, T, "icslap"), (2947, T, "gpsd"), (2967, T, "ssc-agent"), (3000, T, "http-dev"), (3001, T, "origo-native"),
    (3050, T, "gds-db"), (3052, T, "apc-3052"), (3128, T, "squid-http"), (3130, U, "icpv2"), (3205, B, "isns"),
    (3218, T, "emcsmtp"), (3260, T, "iscsi-target"), (3268, T, "msft-gc"), (3269, T, "msft-gc-ssl"),
    (3283, B, "net-assistant"), (3299, T, "saprouter"), (3306, T, "mysql"), (3310, T, "clamav"), (3333, T, "dec-notes"),
    (3389, B, "ms-wbt-server"), (3391, U, "savant"), (3478, B, "stun"), (3493, T, "nut"), (3544, U, "teredo"),
    (3551, T, "apcupsd"), (3632, T, "distcc"), (3659, T, "apple-sasl"), (3671, U, "efcp"), (3689, T, "daap"),
    (3690, T, "svn"), (3702, U, "ws-discovery"), (3784, U, "bfd-control"), (3785, U, "bfd-echo"), (3868, T, "diameter"),
    (3986, T, "mapper-ws-ethd"), (4000, T, "terabase"), (4045, B, "lockd"), (4070, T, "tripe"), (4118, T, "netscript"),
    (4190, T, "sieve"), (4242, T, "vrml-multi-use"), (4369, T, "epmd"), (4433, U, "dtls-alt"), (4443, T, "https-alt"),
    (4444, T, "krb524"), (4445, T, "upnotifyp"), (4500, U, "ipsec-nat-t"), (4505, T, "salt-publish"),
    (4506, T, "salt-request"), (4559, T, "hylafax"), (4567, T, "tram"), (4569, U, "iax"), (4646, T, "nomad"),
    (4647, T, "nomad-rpc"), (4662, T, "edonkey"), (4713, T, "pulseaudio"), (4730, T, "gearman"), (4739, B, "ipfix"),
    (4786, T, "smart-install"), (4789, U, "vxlan"), (4840, T, "opcua"), (4848, T, "appserv-http"), (4899, T, "radmin"),
    (4949, T, "munin"), (5000, T, "upnp-http"), (5001, T, "commplex-link"), (5002, T, "rfe"),
    (5003, T, "fmpro-internal"), (5004, U, "rtp-media"), (5005, U, "rtcp-media"), (5009, T, "airport-admin"),
    (5020, T, "zenginkyo-1"), (5037, T, "adb-server"), (5044, T, "beats"), (5050, T, "mmcc"), (5051, T, "ita-agent"),
    (5060, B, "sip"), (5061, B, "sips"), (5080, T, "onscreen"), (5093, U, "sentinel-lm"), (5100, T, "socalia"),
    (5101, T, "talarian-tcp"), (5120, T, "barracuda-bbs"), (5190, T, "aol"), (5201, T, "iperf3"),
    (5222, T, "xmpp-client"), (5223, T, "xmpp-client-s"), (5226, T, "hp-status"), (5246, U, "capwap-control"),
    (5247, U, "capwap-data"), (5269, T, "xmpp-server"), (5280, T, "xmpp-bosh"), (5298, T, "presence"),
    (5349, U, "stuns"), (5351, U, "nat-pmp"), (5353, U, "mdns"), (5355, B, "llmnr"), (5357, T, "wsdapi"),
    (5405, T, "netsupport"), (5432, T, "postgresql"), (5433, T, "postgresql-alt"), (5500, T, "hotline"),
    (5510, T, "secureidprop"), (5550, T, "sdadmind"), (5553, T, "sgi-eventmond"), (5555, T, "adb"),
    (5556, T, "freeciv"), (5560, T, "isqlplus"), (5601, T, "kibana"), (5631, T, "pcanywheredata"),
    (5632, U, "pcanywherestat"), (5666, T, "nrpe"), (5667, T, "nsca"), (5671, T, "amqps"), (5672, T, "amqp"),
    (5678, B, "rrac"), (5683, B, "coap"), (5684, B, "coaps"), (5718, T, "dpm"), (5800, T, "vnc-http"),
    (5801, T, "vnc-http-1"), (5858, T, "node-debug"), (5900, T, "vnc"), (5901, T, "vnc-1"), (5902, T, "vnc-2"),
    (5903, T, "vnc-3"), (5938, T, "teamviewer"), (5984, T, "couchdb"), (5985, T, "winrm"), (5986, T, "winrm-s"),
    (5987, T, "wbem-rmi"), (5988, T, "wbem-http"), (5989, T, "wbem-https"), (6000, T, "x11"), (6001, T, "x11-1"),
    (6002, T, "x11-2"), (6003, T, "x11-3"), (6004, T, "x11-4"), (6005, T, "x11-5"), (6006, T, "x11-6"),
    (6007, T, "x11-7"), (6009, T, "x11-9"), (6081, U, "geneve"), (6082, T, "varnish-admin"), (6112, T, "dtspc"),
    (6123, T, "backup-express"), (6129, T, "dameware"), (6343, U, "sflow"), (6346, B, "gnutella"), (6379, T, "redis"),
    (6380, T, "redis-tls"), (6389, T, "clariion"), (6443, T, "kubernetes-api"), (6502, T, "netop-rc"),
    (6510, T, "mcer-port"), (6514, T, "syslog-tls"), (6543, T, "mythtv"), (6566, T, "sane-port"),
    (6580, T, "parsec-master"), (6600, T, "mpd"), (6646, T, "mcafee"), (6660, T, "irc-alt"), (6665, T, "irc-alt"),
    (6666, T, "irc-alt"), (6667, T, "irc-alt"), (6668, T, "irc-alt"), (6669, T, "irc-alt"), (6697, T, "ircs-u"),
    (6789, T, "smc-https"), (6800, T, "aria2"), (6881, B, "bittorrent"), (6969, T, "acmsd"),
    (7000, T, "afs3-fileserver"), (7001, T, "weblogic"), (7001, U, "afs3-callback"), (7002, T, "weblogic-s"),
    (7004, T, "afs3-kaserver"), (7007, T, "afs3-bos"), (7070, T, "realserver"), (7100, T, "font-service"),
    (7199, T, "cassandra-jmx"), (7400, T, "rtps-discovery"), (7443, T, "oracleas-https"), (7473, T, "neo4j-https"),
    (7474, T, "neo4j"), (7496, T, "trading-api"), (7547, T, "cwmp"), (7625, T, "usicontentpush"),
    (7627, T, "soap-http"), (7676, T, "imqbrokerd"), (7687, T, "bolt"), (7777, T, "cbt"), (7778, T, "interwise"),
    (7800, T, "asr"), (7911, T, "omapi"), (7946, B, "swarm-gossip"), (8000, T, "http-alt"), (8001, T, "http-alt"),
    (8002, T, "http-alt"), (8005, T, "tomcat-shutdown"), (8006, T, "proxmox"), (8007, T, "ajp12"),
    (8008, T, "http-alt"), (8009, T, "ajp13"), (8010, T, "xmpp-files"), (8020, T, "hdfs-namenode"),
    (8021, T, "ftp-proxy"), (8022, T, "oa-system"), (8030, T, "yarn-scheduler"), (8031, T, "yarn-tracker"),
    (8042, T, "yarn-nodemanager"), (8060, T, "aero"), (8069, T, "odoo"), (8080, T, "http-alt"), (8081, T, "http-alt"),
    (8082, T, "http-alt"), (8083, T, "http-alt"), (8084, T, "http-alt"), (8085, T, "http-alt"), (8086, T, "influxdb"),
    (8087, T, "riak"), (8088, T, "radan-http"), (8089, T, "splunk-mgmt"), (8090, T, "http-alt"), (8091, T, "couchbase"),
    (8096, T, "jellyfin"), (8098, T, "riak-http"), (8099, T, "http-alt"), (8100, T, "xprint-server"),
    (8112, T, "deluge"), (8118, T, "privoxy"), (8123, T, "home-assistant"), (8125, U, "statsd"),
    (8139, T, "puppet-agent"), (8140, T, "puppet"), (8161, T, "activemq-web"), (8172, T, "msdeploy"),
    (8180, T, "http-alt"), (8181, T, "http-alt"), (8192, T, "sophos"), (8193, T, "sophos"), (8194, T, "sophos"),
    (8200, T, "vault"), (8222, T, "vmware-http"), (8291, T, "winbox"), (8300, T, "consul-rpc"),
    (8301, B, "consul-serf"), (8333, T, "bitcoin"), (8383, T, "http-alt"), (8400, T, "commvault"), (8402, T, "abarsd"),
    (8443, B, "https-alt"), (8444, T, "https-alt"), (8500, T, "consul"), (8530, T, "wsus"), (8531, T, "wsus-s"),
    (8545, T, "ethereum-rpc"), (8554, T, "rtsp-alt"), (8600, B, "consul-dns"), (8649, T, "ganglia"), (8686, T, "jmx"),
    (8728, T, "routeros-api"), (8729, T, "routeros-api-s"), (8765, T, "ultraseek-http"), (8800, T, "sunwebadmin"),
    (8805, U, "pfcp"), (8834, T, "nessus-web"), (8880, T, "cddbp-alt"), (8883, T, "mqtts"), (8888, T, "http-alt"),
    (8899, T, "ospf-lite"), (8983, T, "solr"), (9000, T, "http-alt"), (9001, T, "tor-orport"), (9002, T, "dynamid"),
    (9009, T, "pichat"), (9010, T, "sdr"), (9030, T, "tor-dirport"), (9040, T, "tor-trans"), (9042, T, "cassandra"),
    (9050, T, "tor-socks"), (9051, T, "tor-control"), (9080, T, "glrpc"), (9090, T, "http-alt"),
    (9091, T, "transmission"), (9092, T, "kafka"), (9093, T, "alertmanager"), (9094, T, "kafka-alt"),
    (9100, T, "jetdirect"), (9101, T, "jetdirect"), (9102, T, "jetdirect"), (9103, T, "jetdirect"),
    (9104, T, "jetdirect"), (9105, T, "jetdirect"), (9106, T, "jetdirect"), (9107, T, "jetdirect"),
    (9111, T, "dragon-ids"), (9160, T, "cassandra-thrift"), (9200, T, "elasticsearch"), (9300, T, "elasticsearch-node"),
    (9389, T, "adws"), (9390, T, "openvas"), (9392, T, "openvas-web"), (9415, T, "pplive"), (9418, T, "git"),
    (9443, T, "tungsten-https"), (9500, T, "ismserver"), (9535, T, "mngsuite"), (9595, T, "pds"),
    (9600, T, "micromuse-ncpw"), (9618, T, "condor"), (9666, T, "zoomcp"), (9876, T, "sd"), (9898, T, "monkeycom"),
    (9943, T, "https-alt"), (9944, T, "https-alt"), (9993, U, "zerotier"), (9999, T, "abyss"), (10000, T, "webmin"),
    (10001, U, "ubnt-discovery"), (10050, T, "zabbix-agent"), (10051, T, "zabbix-trapper"), (10080, T, "amanda"),
    (10082, T, "amandaidx"), (10162, U, "snmptrap-tls"), (10243, T, "wmp-http"), (10250, T, "kubelet"),
    (10255, T, "kubelet-ro"), (10257, T, "kube-controller"), (10259, T, "kube-scheduler"), (10443, T, "https-alt"),
    (10809, T, "nbd"), (11111, T, "vce"), (11112, T, "dicom"), (11211, B, "memcache"), (11371, T, "hkp"),
    (11434, T, "ollama"), (12000, T, "entextxid"), (12345, T, "netbus"), (13306, T, "mysql-alt"), (13720, T, "bprd"),
    (13721, T, "bpdbm"), (13722, T, "bpjava-msvc"), (13724, T, "vnetd"), (13782, T, "bpcd"), (13783, T, "vopied"),
    (15672, T, "rabbitmq-web"), (16000, T, "fmsas"), (16080, T, "osxwebadmin"), (16992, T, "amt-soap-http"),
    (16993, T, "amt-soap-https"), (17185, U, "wdbrpc"), (17500, B, "dropbox-lansync"), (17988, T, "ilo-media"),
    (17990, T, "ilo-console"), (18080, T, "http-alt"), (18091, T, "couchbase-s"), (19000, T, "igrid"),
    (19132, U, "minecraft-bedrock"), (19150, T, "gkrellm"), (19302, U, "stun-google"), (19999, T, "netdata"),
    (20000, B, "dnp"), (20048, U, "mountd"), (20222, T, "ipulse-ics"), (22222, T, "easyengine"),
    (23023, T, "telnet-alt"), (25565, T, "minecraft"), (25672, T, "rabbitmq-dist"), (25826, U, "collectd"),
    (26379, T, "redis-sentinel"), (27015, B, "steam"), (27017, T, "mongodb"), (27018, T, "mongodb-shard"),
    (27019, T, "mongodb-config"), (27960, U, "quake3"), (28017, T, "mongodb-web"), (30013, T, "hana-system"),
    (30015, T, "hana"), (30718, B, "lantronix-setup"), (31337, T, "elite"), (32400, T, "plex"),
    (32764, T, "router-backdoor"), (32768, T, "filenet-tms"), (33060, T, "mysqlx"), (33434, U, "traceroute"),
    (34962, B, "profinet-rt"), (34964, B, "profinet-cm"), (37777, T, "dahua-dvr"), (41641, U, "tailscale"),
    (41794, B, "crestron-cip"), (44818, B, "ethernet-ip"), (47808, U, "bacnet"), (49152, T, "dynamic"),
    (50000, T, "ibm-db2"), (50070, T, "hdfs-web"), (50075, T, "hdfs-datanode"), (51413, B, "transmission-peer"),
    (51820, U, "wireguard"), (54321, T, "bo2k"), (55553, T, "metasploit-rpc"), (61613, T, "stomp"),
    (61616, T, "activemq"), (62078, T, "iphone-sync"), (64738, B, "mumble"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_port_once_per_protocol() {
        for pair in SERVICES.windows(2) {
            let ((a, protocols_a, _), (b, protocols_b, _)) = (pair[0], pair[1]);
            assert!(a < b || (a == b && protocols_a & protocols_b == 0), "{a} then {b}");
        }
    }

    /// Where this table has another name than the system's on purpose: what is found there today, or an older name of the same.
    const KNOWN_AS: &[(u16, &str)] = &[
        (777, "multiling-http"),
        (783, "spamassassin"),
        (1645, "radius"),
        (1646, "radacct"),
        (2086, "whm"),
        (2121, "ccproxy-ftp"),
        (4899, "radmin"),
        (5061, "sips"),
        (6346, "gnutella"),
        (6667, "irc-alt"),
        (7000, "afs3-fileserver"),
        (8021, "ftp-proxy"),
        (8081, "http-alt"),
        (8088, "radan-http"),
        (9101, "jetdirect"),
        (9102, "jetdirect"),
        (9103, "jetdirect"),
        (17500, "dropbox-lansync"),
    ];

    #[test]
    fn where_the_system_names_a_port_the_table_says_the_same_or_is_different_on_purpose() {
        let Ok(services) = std::fs::read_to_string("/etc/services") else {
            eprintln!("not compared: there is no /etc/services");
            return;
        };
        let mut differing = Vec::new();
        for line in services.lines().map(|line| line.split('#').next().unwrap_or_default()) {
            let mut words = line.split_whitespace();
            let (Some(name), Some((port, protocol))) =
                (words.next(), words.next().and_then(|word| word.split_once('/')))
            else {
                continue;
            };
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => continue,
            };
            let port: u16 = port.parse().unwrap();
            let Some(ours) = service_name(port, protocol) else { continue };
            if ours != name && !words.any(|alias| alias == ours) && !KNOWN_AS.contains(&(port, ours)) {
                differing.push((port, ours, name.to_owned()));
            }
        }
        assert!(differing.is_empty(), "{differing:?}");
    }

    #[test]
    fn names_are_what_a_port_list_can_hold() {
        for (port, _, name) in SERVICES {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{port} {name}");
            assert!(name.bytes().any(|b| b.is_ascii_lowercase()), "{port}: a name is no number");
        }
    }
}
