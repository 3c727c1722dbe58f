// The guard over calls in which MPI blocks; see ranks_guard.h.
#include "core/ranks/ranks_guard.h"

#include "core/base/console.h"
#include "core/base/error.h"
#include "core/base/signals.h"
#include "core/ranks/launcher.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FIRST_TURN   3.0 // seconds in which the launcher may end the others when rank 0 has spoken
#define TURN_SECONDS 0.5 // from one to the next
#define LAST_TURN    8

static struct {
    int rank;
    const char *what;
    double seconds;
    bool on; // a guard stands; under the lock
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
} guard = {0, NULL, 0, false, false, 0, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER};

// A change of the machine's date moves no guard.
static void open_clock(void) {
    pthread_condattr_t by_clock;
    pthread_condattr_init(&by_clock);
    pthread_condattr_setclock(&by_clock, CLOCK_MONOTONIC);
    pthread_cond_init(&guard.ended, &by_clock);
    pthread_condattr_destroy(&by_clock);
}

// ---- What to do about it

// Bridges that containers and virtual machines bring: often of the same address on every host, where
// connections end in the host itself.
static bool is_bridge(const char *name) {
    static const char *const kinds[] = {"docker", "br-",    "virbr", "lxcbr",
                                        "lxdbr",  "podman", "cni",   "flannel"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(name, kinds[i], strlen(kinds[i])) == 0) return true;
    }
    return false;
}

// Those of this host that are up, with commas between; "" for none.
static void list_bridges(char *names, size_t size) {
    struct ifaddrs *all = NULL;
    names[0] = 0;
    if (getifaddrs(&all) != 0) return;
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        bool counts = i->ifa_addr && i->ifa_addr->sa_family == AF_INET && (i->ifa_flags & IFF_UP) != 0;
        size_t used = strlen(names);
        if (!counts || !is_bridge(i->ifa_name) || strstr(names, i->ifa_name)) continue;
        snprintf(names + used, size - used, "%s%s", used ? "," : "", i->ifa_name);
    }
    freeifaddrs(all);
}

static void remedy(char *text, size_t size) {
    char bridges[200];
    list_bridges(bridges, sizeof bridges);
    if (bridges[0]) {
        snprintf(
            text, size,
            "%s of this host may have an address that other hosts have too: leave it out with mpirun --mca "
            "btl_tcp_if_exclude lo,%s (under srun OMPI_MCA_btl_tcp_if_exclude=lo,%s), and "
            "NCCL_SOCKET_IFNAME=^lo,%s",
            bridges, bridges, bridges, bridges);
    } else {
        snprintf(text, size,
                 "name the network between hosts with mpirun --mca btl_tcp_if_include NAME (under srun "
                 "OMPI_MCA_btl_tcp_if_include=NAME), and NCCL_SOCKET_IFNAME=NAME");
    }
}

// ---- The thread

static double turn_of(int rank) {
    return rank == 0 ? 0 : FIRST_TURN + TURN_SECONDS * (rank < LAST_TURN ? rank : LAST_TURN);
}

// MPI is blocked, and cannot be asked to end the others: their launcher does so when this process is gone.
__attribute__((noreturn)) static void end_process(void) {
    char host[64] = "", text[1000], line[1600];
    gethostname(host, sizeof host - 1);
    remedy(text, sizeof text);
    int length = snprintf(
        line, sizeof line,
        "train_gpt_lighthouse: error: rank %d on %s: %s has not ended in %.0f s: a rank died or hangs, "
        "or hosts do not reach each other; %s\n",
        guard.rank, host, guard.what, guard.seconds, text);
    console_settle();
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written;
    launcher_reads(STDERR_FILENO);
    _exit(STATUS_RANKS);
}

static struct timespec moment_in(double seconds) {
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    double fraction = (double)moment.tv_nsec * 1e-9 + seconds;
    moment.tv_sec += (time_t)fraction;
    moment.tv_nsec = (long)((fraction - (double)(time_t)fraction) * 1e9);
    return moment;
}

static void *stand(void *argument) {
    (void)argument;
    struct timespec until = moment_in(guard.seconds + turn_of(guard.rank));
    int late = 0;
    pthread_mutex_lock(&guard.lock);
    while (guard.on && late == 0) late = pthread_cond_timedwait(&guard.ended, &guard.lock, &until);
    bool expired = guard.on;
    pthread_mutex_unlock(&guard.lock);
    if (expired) end_process();
    return NULL;
}

void ranks_guard_begin(int rank, const char *what, double seconds) {
    open_clock();
    guard.rank = rank;
    guard.what = what;
    guard.seconds = seconds;
    guard.on = true;
    guard.threaded = signals_thread(&guard.thread, stand, NULL);
}

void ranks_guard_end(void) {
    pthread_mutex_lock(&guard.lock);
    guard.on = false;
    pthread_cond_signal(&guard.ended);
    pthread_mutex_unlock(&guard.lock);
    if (guard.threaded) pthread_join(guard.thread, NULL);
    pthread_cond_destroy(&guard.ended);
}
