//! The order in which TCP and UDP ports are worth asking: ours, from what networks commonly run.
//!
//! First the services that every network has, then those of servers, then those found now and then, then every other
//! port that has a name (`service`), then the remaining well-known ports (0-1023), then the rest in ascending order.
//! No measured table of another project is behind it.

use super::service::{named_tcp_ports, named_udp_ports};

/// Every TCP port from 1 to 65535 once, the likeliest open first.
pub(super) fn by_popularity() -> impl Iterator<Item = u16> {
    once_each(POPULAR.iter().copied().chain(named_tcp_ports()).chain(1..=u16::MAX))
}

/// Every UDP port from 1 to 65535 once, the likeliest open first.
pub(super) fn udp_by_popularity() -> impl Iterator<Item = u16> {
    once_each(POPULAR_UDP.iter().copied().chain(named_udp_ports()).chain(1..=u16::MAX))
}

fn once_each(order: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    let mut seen = vec![false; 1 << 16];
    order.filter(move |port| seen.get_mut(usize::from(*port)).is_some_and(|seen| !std::mem::replace(seen, true)))
}

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
    106, 109, 119, 366, 563, 783, 2525, 194, 6660, 6665, 6666, 6667, 6668, 6669, 6697, 5222, 5223, 5269, 5280, 1720, 2000,
    1935, 1755, 3478, 32400, 8096, 64738, 25565, 27015, 3689, 5050, 5190,
    // Shells, files, X11, VNC, proxies, tunnels.
    512, 513, 873, 990, 989, 992, 2222, 2323, 2121, 3128, 1080, 1194, 3690, 9418, 2401, 3632, 5555, 5037, 6000, 6001, 6002, 6003,
    5800, 5801, 5901, 5902, 5903, 9050, 9051, 860, 3260, 10809, 6881, 51413, 17500, 445, 44445, 62078,
    // Routers, printers, storage, cameras, industry.
    4786, 8728, 8729, 2601, 2604, 2605, 830, 199, 49, 264, 256, 1503, 5009, 3052, 3551, 3493, 6389, 17988, 17990, 623, 664,
    16992, 16993, 37777, 9104, 9105, 9106, 9107, 721, 102, 502, 2404, 4840, 20000, 44818, 1911, 4911, 11112, 104, 34962, 34964, 41794,
    // Old and small services that still answer somewhere.
    7, 9, 13, 17, 19, 37, 43, 70, 79, 113, 427, 540, 543, 544, 1099, 1098, 1352, 1414, 1500, 1501, 1666, 2003, 2100, 2161, 2301, 2381,
    2628, 2967, 3299, 3310, 3333, 4000, 4444, 4445, 4567, 4730, 5002, 5003, 5631, 6112, 6346, 6646, 6789, 7000, 7100, 7777, 7778, 8005,
    8007, 8021, 8022, 8192, 8193, 8194, 8686, 9009, 9010, 9040, 9111, 9390, 9392, 9535, 9595, 9618, 9666, 9876, 9898, 9999, 11111,
    12345, 16080, 31337, 32764, 54321, 20222, 22222, 30718, 32768, 32769, 32770, 32771, 50070, 50075,
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
    }
}
