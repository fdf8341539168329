// A cable with a length: two network cards (TAPs), each in a network namespace, and between them every
// packet is delayed, or lost. For kernels without netem. It ends when its standard input does.
// Usage: vlink NAMESPACE CARD NAMESPACE CARD DELAY_US LOSS_PPM
#define _GNU_SOURCE
#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define WAITING_MAX 16384
#define PACKET_MAX 1600
#define AT_ONCE 64

struct packet { long long due; int length; unsigned char bytes[PACKET_MAX]; };
struct direction { struct packet *waiting; unsigned first, count; };

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int card(const char *namespace, const char *name) {
    char path[256];
    struct ifreq wanted = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int place = open(path, O_RDONLY | O_CLOEXEC);
    if (place < 0 || setns(place, CLONE_NEWNET)) fail(path);
    close(place);
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    strncpy(wanted.ifr_name, name, IFNAMSIZ - 1);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &wanted)) fail(name);
    return tap;
}

// Writes what is due, and says when the next is; -1 when nothing waits.
static long long deliver(struct direction *way, int to) {
    while (way->count) {
        struct packet *packet = &way->waiting[way->first];
        if (packet->due > now()) return packet->due;
        if (write(to, packet->bytes, packet->length) < 0) { /* The card has no room, or is down: lost. */ }
        way->first = (way->first + 1) % WAITING_MAX;
        way->count--;
    }
    return -1;
}

static void collect(struct direction *way, int from, long long delay, long loss) {
    unsigned char bytes[PACKET_MAX];
    int length;
    for (int turn = 0; turn < AT_ONCE && (length = read(from, bytes, sizeof bytes)) > 0; turn++) {
        if (way->count == WAITING_MAX || random() % 1000000 < loss) continue;
        struct packet *packet = &way->waiting[(way->first + way->count++) % WAITING_MAX];
        packet->due = now() + delay;
        packet->length = length;
        memcpy(packet->bytes, bytes, length);
    }
}

int main(int count, char **words) {
    struct direction ways[2] = {{0}, {0}};
    if (count < 7) return 2;
    int cards[2] = {card(words[1], words[2]), card(words[3], words[4])};
    long long delay = atol(words[5]) * 1000LL;
    long loss = atol(words[6]);
    for (int i = 0; i < 2; i++)
        if (!(ways[i].waiting = calloc(WAITING_MAX, sizeof(struct packet)))) fail("memory");
    puts("up");
    fflush(stdout);
    for (;;) {
        struct pollfd ready[3] = {{cards[0], POLLIN, 0}, {cards[1], POLLIN, 0}, {0, POLLIN, 0}};
        struct timespec wait, *until = NULL;
        long long next = -1;
        for (int i = 0; i < 2; i++) {
            long long due = deliver(&ways[i], cards[1 - i]);
            if (due >= 0 && (next < 0 || due < next)) next = due;
        }
        if (next >= 0) {
            long long rest = next - now();
            if (rest < 0) rest = 0;
            wait = (struct timespec){rest / 1000000000, rest % 1000000000};
            until = &wait;
        }
        if (ppoll(ready, 3, until, NULL) < 0) continue;
        if (ready[2].revents) return 0;
        for (int i = 0; i < 2; i++)
            if (ready[i].revents & POLLIN) collect(&ways[i], cards[i], delay, loss);
    }
}
