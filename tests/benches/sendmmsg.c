/* The least that sending SYNs can cost: ready-made frames, batches of 64, nothing decided and nothing received.
 *
 * Each frame gets a destination and a sequence number of its own, as a scanner's would, without checksums. It is the
 * measure for our send loop (sink.rs): what the system call and the cable take, and no more.
 *
 * usage: sendmmsg INTERFACE GATEWAY-MAC SOURCE-ADDRESS SECONDS
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, FRAME = 14 + 44 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int count, char **words) {
    if (count != 5) {
        fprintf(stderr, "usage: sendmmsg INTERFACE GATEWAY-MAC SOURCE-ADDRESS SECONDS\n");
        return 2;
    }
    unsigned char gateway[6];
    if (sscanf(words[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", gateway, gateway + 1, gateway + 2, gateway + 3, gateway + 4,
               gateway + 5) != 6) {
        fprintf(stderr, "sendmmsg: %s is no hardware address\n", words[2]);
        return 2;
    }
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    if (fd < 0) fail("socket");
    struct ifreq interface = {0};
    strncpy(interface.ifr_name, words[1], IFNAMSIZ - 1);
    if (ioctl(fd, SIOCGIFHWADDR, &interface) < 0) fail(words[1]);
    unsigned char own[6];
    memcpy(own, interface.ifr_hwaddr.sa_data, 6);
    struct sockaddr_ll link = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = if_nametoindex(words[1]), .sll_halen = 6};
    memcpy(link.sll_addr, gateway, 6);

    static unsigned char frames[BATCH][FRAME];
    static struct iovec parts[BATCH];
    static struct mmsghdr messages[BATCH];
    uint32_t from = inet_addr(words[3]);
    for (int i = 0; i < BATCH; i++) {
        unsigned char *frame = frames[i], *ip = frame + 14, *tcp = ip + 20;
        memcpy(frame, gateway, 6);
        memcpy(frame + 6, own, 6);
        frame[12] = 8; /* IPv4 */
        ip[0] = 0x45;
        ip[3] = 44;
        ip[8] = 64;
        ip[9] = 6;
        memcpy(ip + 12, &from, 4);
        tcp[0] = 0xee;
        tcp[3] = 80;
        tcp[12] = 6 << 4;
        tcp[13] = 2; /* SYN */
        parts[i] = (struct iovec){frame, FRAME};
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &link, .msg_namelen = sizeof link, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    double end = now() + atof(words[4]);
    uint64_t sent = 0;
    uint32_t number = 0;
    while (now() < end) {
        for (int i = 0; i < BATCH; i++) {
            uint32_t address = htonl(0x0a4d0000u | (number++ & 0xffff)), sequence = number * 2654435761u;
            memcpy(frames[i] + 14 + 16, &address, 4);
            memcpy(frames[i] + 14 + 24, &sequence, 4);
        }
        int at = 0;
        while (at < BATCH) {
            int more = sendmmsg(fd, messages + at, BATCH - at, 0);
            if (more < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) fail("sendmmsg");
            if (more > 0) at += more;
        }
        sent += BATCH;
    }
    printf("%llu\n", (unsigned long long)sent);
    return 0;
}
