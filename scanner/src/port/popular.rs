//! The order in which TCP and UDP ports are worth asking: ours, from published measurements and vendors' documents.
//!
//! First what is found open most, then the lowest of the dynamic ports that systems hand out from the bottom, then services of
//! servers, then ports that single makers document, then the neighbours of usual ports, then every other port that has a name
//! (`service`) and may be offered over TCP today, then what IANA gave out first, then the rest in ascending order. No measured
//! table of another project is copied; decision 0038 has the sources and what the order covers, and a test measures it where nmap is.

use super::service::{named_tcp_ports, named_udp_ports};

/// Every TCP port from 1 to 65535 once, the likeliest open first.
pub(super) fn by_popularity() -> impl Iterator<Item = u16> {
    let neighbours = NEIGHBOURS.iter().cloned().flatten();
    let documented = RESERVED.rev().chain(DOCUMENTED.iter().copied());
    let known = FIRST.iter().copied().chain(DYNAMIC).chain(POPULAR.iter().copied()).chain(documented).chain(neighbours);
    let named = named_tcp_ports().filter(|port| !LATE.contains(port));
    let fallback = SMALL.chain(DYNAMIC_LATER).chain(GIVEN_FIRST).chain(named_tcp_ports()).chain(1..=u16::MAX);
    once_each(known.chain(named).chain(fallback))
}

/// Every UDP port from 1 to 65535 once, the likeliest open first.
pub(super) fn udp_by_popularity() -> impl Iterator<Item = u16> {
    once_each(POPULAR_UDP.iter().copied().chain(named_udp_ports()).chain(1..=u16::MAX))
}

fn once_each(order: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    let mut seen = vec![false; 1 << 16];
    order.filter(move |port| seen.get_mut(usize::from(*port)).is_some_and(|seen| !std::mem::replace(seen, true)))
}

/// What is open most often.
#[rustfmt::skip]
static FIRST: &[u16] = &[
    // Web, remote access, files, mail, names. Lyon, "Nmap: Scanning the Internet" (Black Hat 2008), told the ten that were found
    // open most: 80, 23, 443, 21, 22, 25, 3389, 110, 445, 139.
    80, 443, 22, 445, 3389, 23, 21, 25, 139, 110, 135, 53, 8080, 143, 3306, 993, 995, 111, 1723, 587, 8443, 5900, 465,
    // Windows: the first dynamic ports, from 1025 up to Server 2003 and from 49152 since (Microsoft, "Service overview and network
    // port requirements for Windows"), directories, WSD (5357), remote management.
    1025, 49152, 49154, 1026, 49153, 1027, 49155, 5357, 49156, 49157, 1433, 389, 88, 5985, 636, 464, 3268,
    // Routers, printers, cameras, voice, home gateways and workstations, by their manuals: small services, remote shells, X11, UPnP,
    // consoles; Solaris and Linux hand out 32768 first.
    1720, 5060, 515, 9100, 631, 179, 199, 548, 554, 1900, 2000, 2001, 8000, 8008, 81, 8888, 8081, 10000, 6001, 6000, 5000,
    5666, 26, 113, 79, 37, 7, 9, 13, 106, 513, 514, 543, 544, 427, 444, 119, 32768, 5432, 3128, 6379, 27017, 9200, 9000, 9090,
    9443, 8009, 8086, 5601, 2375, 6443, 10250, 2049, 873, 5800, 5631, 5190, 1755, 3000, 7070, 9999, 2121, 1110, 646, 990, 6646,
    8089, 7001,
];

/// What Windows up to Server 2003 and the BSDs hand out first, from the bottom, to services of remote procedures.
const DYNAMIC: std::ops::RangeInclusive<u16> = 1024..=1130;

/// What they hand out next, on a server with many such services.
const DYNAMIC_LATER: std::ops::RangeInclusive<u16> = 1131..=1199;

/// What systems of BSD's kin hand out first, from the top, to services of remote procedures that want a reserved port
/// (`rresvport`(3): 1023 and down).
const RESERVED: std::ops::RangeInclusive<u16> = 992..=1023;

/// The smallest numbers, which programs without one of their own are given by hand.
const SMALL: std::ops::RangeInclusive<u16> = 1..=33;

/// What IANA gave out before all others, by its registry.
const GIVEN_FIRST: std::ops::RangeInclusive<u16> = 1..=255;

/// Where further servers of a kind listen: displays of X11 and VNC, more web servers, the dynamic ports of Windows (49152 on) and
/// of Solaris and older Linux (32768 on).
#[rustfmt::skip]
static NEIGHBOURS: &[std::ops::RangeInclusive<u16>] = &[
    6000..=6009, 2000..=2013, 32768..=32785, 49152..=49176, 10000..=10012, 5900..=5912, 5800..=5804, 4000..=4007,
    50000..=50003, 3000..=3007, 5000..=5005, 7000..=7007, 8000..=8011, 9000..=9005,
];

/// Services of servers, devices and industry.
#[rustfmt::skip]
static POPULAR: &[u16] = &[
    // Web, remote access, file sharing, mail, names: what nearly every network has.
    80, 443, 22, 445, 3389, 135, 139, 21, 25, 53, 23, 8080, 8443, 3306, 110, 143, 993, 995, 587, 465, 111, 5900,
    1433, 5432, 389, 636, 88, 5985, 5986, 161, 179, 548, 631, 515, 9100, 2049, 1723, 554, 5060, 5061,
    // Web servers and consoles beside the usual ports.
    8000, 8008, 8081, 8888, 8082, 8083, 8084, 8085, 8086, 8088, 8089, 8090, 8001, 8002, 8009, 8010, 8020, 8060, 8069,
    8091, 8099, 8100, 8118, 8123, 8140, 8161, 8180, 8181, 8200, 8291, 8300, 8333, 8383, 8444, 8500, 8530, 8531, 8554,
    8834, 8880, 8883, 8983, 81, 82, 83, 84, 85, 3000, 3001, 4443, 4848, 5000, 5001, 5601, 7001, 7002, 7070, 7443, 9000,
    9001, 9002, 9080, 9090, 9091, 9443, 10000, 10443, 18080, 2082, 2083, 2086, 2087, 2095, 2096, 591, 593, 808, 888, 7547,
    // Databases, caches, queues, search.
    6379, 27017, 27018, 9200, 9300, 11211, 5984, 9042, 9160, 7199, 1521, 1522, 1525, 1526, 1527, 3050, 50000, 2638, 5433, 6380,
    26379, 5672, 5671, 15672, 25672, 61613, 61616, 1883, 9092, 9093, 2181, 8087, 8098, 7474, 7473, 7687, 28017, 33060, 4369,
    // Containers, clusters, configuration, monitoring.
    2375, 2376, 2377, 6443, 10250, 10255, 10257, 10259, 2379, 2380, 4646, 4647, 8301, 8600, 7946, 4505, 4506, 8139,
    10050, 10051, 5666, 5667, 4949, 9094, 19999, 5044, 8649, 1984, 6514, 601, 514,
    // Directories, Windows services, backup, virtualisation.
    464, 749, 3268, 3269, 9389, 1025, 1026, 1027, 1028, 1029, 1030, 5357, 2869, 1801, 2103, 2105, 2107, 1270, 1688, 8172,
    902, 903, 912, 5989, 5988, 8006, 8222, 49152, 49153, 49154, 49155, 49156, 49157, 49158, 47001, 6129, 4899, 5938, 1494, 2598,
    13720, 13722, 13724, 13782, 10080, 6106, 8400, 9101, 9102, 9103,
    // Other mail, news, chat, voice, media.
    106, 109, 119, 366, 563, 783, 2525, 6665, 6666, 6667, 6668, 6669, 6697, 5222, 5223, 5269, 5280, 1720, 2000,
    1935, 1755, 3478, 32400, 8096, 64738, 25565, 27015, 3689, 5050, 5190,
    // Shells, files, X11, VNC, proxies, tunnels.
    512, 513, 873, 990, 989, 992, 2222, 2323, 2121, 3128, 1080, 1194, 3690, 9418, 2401, 3632, 5555, 5037, 6000, 6001, 6002, 6003,
    5800, 5801, 5901, 5902, 5903, 9050, 9051, 860, 3260, 10809, 6881, 51413, 17500, 62078,
    // Routers, printers, storage, cameras, industry.
    4786, 8728, 8729, 2601, 2604, 2605, 830, 199, 49, 264, 256, 1503, 5009, 3052, 3551, 3493, 6389, 17988, 17990, 623, 664,
    16992, 16993, 37777, 102, 502, 2404, 4840, 20000, 44818, 1911, 4911, 11112, 104, 34962, 34964, 41794,
    // Old and small services that still answer somewhere.
    7, 9, 13, 17, 19, 37, 43, 70, 79, 113, 427, 540, 543, 544, 1099, 1098, 1352, 1414, 1500, 1501, 1666, 2003, 2100, 2161, 2301, 2381,
    2628, 2967, 3299, 3310, 3333, 4000, 4444, 4445, 4567, 4730, 5002, 5003, 5631, 6112, 6346, 6646, 6789, 7000, 7100, 7777, 7778, 8005,
    8007, 8021, 8022, 8192, 8193, 8194, 8686, 9009, 9010, 9040, 9111, 9390, 9392, 9535, 9595, 9618, 9666, 9876, 9898, 9999, 11111,
    12345, 16080, 31337, 32764, 54321, 20222, 22222, 30718, 32768, 32769, 32770, 32771, 50070, 50075,
];

/// Ports of single products, by what their makers write of them.
#[rustfmt::skip]
static DOCUMENTED: &[u16] = &[
    // Microsoft, "Service overview and network port requirements for Windows", and the pages of the products: WINS, ActiveSync,
    // Exchange's services, Hyper-V, Analysis Services, Configuration Manager, clusters, transactions over TIP, ISA, SBS.
    42, 987, 999, 1745, 2179, 2382, 2383, 2393, 2394, 2701, 2702, 2703, 2704, 3343, 3372, 5678, 5679, 6004,
    // The same maker: SQL Server's browser, Analysis Services 7, Groove's relay, Remote Web Workplace; the usual second port of
    // Remote Desktop beside 3389.
    1434, 2725, 2492, 4125, 3390,
    // Apple, "TCP and UDP ports used by Apple software products": administration of servers, directories, events, Xgrid, mail.
    311, 625, 660, 687, 1085, 3031, 3283, 4111, 8170,
    // HP: Web JetAdmin, OpenView, HCIP, management agents, printers' status, and what older ones of Compaq had.
    280, 383, 1782, 5225, 5226, 5227, 49400, 9220, 9290,
    // Backup: Retrospect, NetWorker (7937 to 7939), Backup Exec, Syncsort, NetVault, LiveVault, Tivoli Storage Manager, NetBackup's
    // exchange, System Recovery, Arkeia.
    497, 7937, 7938, 7939, 6101, 6123, 15660, 20031, 2144, 1581, 1556, 3527, 617,
    // Management and monitoring: SWAT, Sun's consoles, LANDesk, Ganglia, AgentX (RFC 2741), rwhois (RFC 2167), FortiManager and
    // FortiGate's sign-in, NSClient, RealSecure, APC's agents, National Instruments, eTrust.
    901, 6788, 9593, 9594, 38292, 8651, 8652, 705, 4321, 541, 1000, 1003, 1248, 2998, 2160, 2260, 3580, 42510, 6547,
    // The same: Symantec's and Trend Micro's servers, Kaspersky's administration, SiteProtector, SofaWare, Avocent's switches
    // (DSView's manual), SCO's administration, NetOp School, iTach of Global Caché.
    2968, 12174, 4343, 14000, 3995, 981, 2068, 3211, 3871, 616, 1971, 4998,
    // Networks: IKE over TCP (Check Point), SSH of IPFire and SmoothWall, DLSw (RFC 1795), PacketCable COPS, the UPnP of Realtek
    // and Broadcom, NetUSB, serial servers, H.323, the consoles of Zebra and its heirs.
    500, 222, 2065, 2067, 2126, 3918, 52869, 5431, 20005, 10001, 1300, 1718, 1719, 1721, 2600, 2602, 2603, 2606, 2607, 2608,
    // Applications: FileMaker, Version Cue, Synergy, Btrieve, Ventrilo, MaxDB, SAP's gateways, amavis and what follows it, mail beside
    // 25, Globus, PBS, RLM, iRODS, TiVo, Sametime, node ports of Kubernetes, HBase, JBoss, Oracle's console, CORBA.
    2399, 16000, 16001, 16016, 16018, 3703, 24800, 3351, 3784, 7200, 3300, 3301, 10024, 10025, 26, 2119, 2135, 2811, 15001, 15002,
    15003, 15004, 5054, 1247, 2190, 1533, 30000, 60020, 4446, 1158, 2809, 2810, 683,
    // The same: FlexNet's licences, Pervasive, Caché, Oracle's transactions for Windows, WebSphere's second server, OpenAM's own
    // directory, KeyServer, Bloomberg's terminals, Oracle Calendar, ColdFusion, cameras of GeoVision, Wesnoth, WinMX, CVSup, Now Contact,
    // xtell, Nping's echo, policies for Flash, Kerberos' shells and displays (Heimdal).
    27000, 1583, 1972, 2030, 9081, 50389, 50636, 19283, 19315, 8290, 8292, 5730, 44442, 44443, 4550, 15000, 6699, 5999, 3168, 4224, 9929,
    843, 2106, 2111,
    // IANA's registry: private mail systems (24), what it knows to be used without being registered (90, 100), NeWS (Sun), ISO
    // transport (RFC 1086).
    24, 90, 100, 144, 146,
    // Web servers and consoles beside the usual ports.
    8189, 8889, 8899, 8881, 8882, 8887, 7080, 880, 900, 9998, 8042, 8045, 8031, 9207,
];

/// Ports with a name that come behind the unnamed ones that IANA gave out first: spoken over UDP in practice, ended long ago, only
/// for the machine itself, or a further queue of a print server.
#[rustfmt::skip]
static LATE: &[u16] = &[
    // Over UDP: NetBIOS' names and datagrams, traps, displays, AppleTalk, IPX, routing, GDOI, WINS, accounting, MGCP, IPFIX, LLMNR, CoAP.
    137, 138, 162, 177, 201, 213, 387, 520, 848, 1512, 1813, 2727, 4739, 5355, 5683, 5684,
    // Ended.
    5, 15, 18, 107, 115, 174, 194, 209, 345, 346, 369, 370, 371, 401, 487, 530, 531, 532, 607, 610, 611, 612, 628, 674, 751, 765, 777,
    829, 831, 832, 847, 871, 991, 994, 1649, 2102, 2104, 2761, 2762, 5556, 6660, 11371, 18091, 23023,
    // For the machine itself.
    6082, 9030,
    // Print servers have three queues at most (9100 to 9102), and 9103 is Bacula's.
    721, 9104, 9105, 9106, 9107,
];

/// Ours as well: services of IANA's registry that hosts and devices offer over UDP, by how common they are.
#[rustfmt::skip]
static POPULAR_UDP: &[u16] = &[
    // Names, management, time, Windows, discovery, keys, printing and files: what nearly every network has.
    53, 161, 123, 137, 5353, 1900, 67, 138, 500, 4500, 69, 111, 514, 162, 389, 88, 3702, 5355, 631, 68, 445, 2049,
    // Tunnels, voice, web, databases, management boards.
    1194, 51820, 5060, 443, 3478, 1701, 1434, 623, 520, 1812, 1813, 3389, 11211, 5683, 464, 135, 139, 5351, 10001, 177,
    4789, 427, 3391, 1645, 1646, 5061, 5684, 853, 80, 546, 547, 521, 9993, 41641,
    // Small services, remote procedures, file systems, monitoring, games.
    7, 9, 13, 17, 19, 37, 49, 113, 497, 513, 517, 518, 593, 1433, 1604, 1718, 1719, 2123, 2152, 2427, 3283, 3544, 4045, 4433,
    4569, 5004, 5005, 5093, 5246, 5247, 5349, 5632, 6343, 6881, 7001, 8125, 8301, 8443, 8600, 8805, 17185, 17500, 19132, 19302,
    20048, 25826, 27015, 27960, 30718, 32768, 32769, 33434, 49152, 49153, 49154, 64738,
    // Buildings and industry.
    47808, 44818, 3671, 34962, 34964, 20000, 41794, 2222, 1911,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_udp_port_comes_once_and_the_table_has_each_of_its_own_once() {
        let order: Vec<u16> = udp_by_popularity().collect();
        assert_eq!((order.len(), order[0]), (65_535, 53));
        assert_eq!(order[..POPULAR_UDP.len()], *POPULAR_UDP, "none is written twice");
    }

    #[test]
    fn every_port_comes_once_and_the_well_known_first() {
        let order: Vec<u16> = by_popularity().collect();
        assert_eq!(order.len(), 65_535);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(1..=u16::MAX));
        assert_eq!(order[..5], [80, 443, 22, 445, 3389]);
        assert_eq!(order[..FIRST.len()], *FIRST, "none is written twice");
    }

    #[test]
    fn no_table_says_a_port_twice_or_takes_back_what_another_says() {
        for table in [DOCUMENTED, LATE] {
            let mut sorted = table.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), table.len());
        }
        let early = [FIRST, POPULAR, DOCUMENTED].concat();
        let taken_back: Vec<&u16> = LATE.iter().filter(|port| early.contains(port)).collect();
        assert_eq!(taken_back, Vec::<&u16>::new());
    }

    #[test]
    fn dynamic_ports_of_windows_and_usual_devices_are_among_the_first() {
        let first: Vec<u16> = by_popularity().take(100).collect();
        for port in [49152, 49153, 49154, 49155, 49156, 49157, 5357, 10000, 5666, 1900] {
            assert!(first.contains(&port), "{port}");
        }
        let first: Vec<u16> = by_popularity().take(1000).collect();
        for port in [
            2375, 6443, 10250, 9200, 27017, 6379, 5985, 15672, 8834, 502, 44818, 2379, 4646, 8500, 9042, 1023, 7937,
            2383,
        ] {
            assert!(first.contains(&port), "{port}");
        }
    }
    /// How far the first 100 and 1,000 may stay behind the best list of that size, as a share of all open ports.
    const BEHIND_MAX: f64 = 0.03;

    #[test]
    fn the_first_hundred_and_thousand_cover_nearly_what_the_best_list_covers() {
        // What nmap's authors measured is read where nmap is installed, and is no part of this program.
        let Ok(table) = std::fs::read_to_string("/usr/share/nmap/nmap-services") else {
            eprintln!("not measured: nmap is not installed");
            return;
        };
        let mut share = vec![0.0_f64; 1 << 16];
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split_whitespace().skip(1);
            if let Some(port) = fields.next().and_then(|port| port.strip_suffix("/tcp"))
                && let Some(measured) = fields.next().and_then(|measured| measured.parse().ok())
            {
                share[port.parse::<usize>().unwrap()] = measured;
            }
        }
        let all: f64 = share.iter().sum();
        assert!(all > 1.0, "a table of frequencies");
        let mut best = share.clone();
        best.sort_unstable_by(|one, other| other.total_cmp(one));
        for count in [100, 1000] {
            let ours: f64 = by_popularity().take(count).map(|port| share[usize::from(port)]).sum();
            let theirs: f64 = best.iter().take(count).sum();
            let (ours, theirs) = (ours / all, theirs / all);
            eprintln!("the first {count} cover {ours:.4} of open ports, the best list of that size {theirs:.4}");
            assert!(theirs - ours <= BEHIND_MAX, "{count}: {ours:.4} of {theirs:.4}");
        }
    }

    #[test]
    fn the_first_hundred_and_thousand_are_those_that_were_measured() {
        // Where nmap is not there to measure again, a change shows here: measure it, then note what these became.
        let digest = |count: usize| {
            let mut ports: Vec<u16> = by_popularity().take(count).collect();
            ports.sort_unstable();
            ports.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, port| {
                (hash ^ u64::from(*port)).wrapping_mul(0x0000_0100_0000_01B3)
            })
        };
        assert_eq!([digest(100), digest(1000)], [0x4E35_1E45_0CE6_8A7E, 0x09EC_A7B0_DCBB_ACE1]);
    }
}
