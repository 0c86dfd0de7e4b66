/* main.c: options, the clock, and the phases: log in, warm up, measure, wait for what is still to be answered. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

enum { EVENTS = 512, DUE_AT_ONCE = 256, LOG_BUFFER = 1 << 20 };
static const int64_t TICK = 10 * MILLI; /* how often those that wait are looked at */

static const char usage[] =
    "stratum-load [options] HOST PORT: miners that hash nothing, against a Stratum server where every hash is a share\n"
    "HOST is an IPv4 address. Ends when its time is over, or when standard input ends.\n"
    "\n"
    "  --connections N   how many (1)\n"
    "  --first N         they log in as w<N>, w<N+1>, ... (0)\n"
    "  --prefix TEXT     instead of w\n"
    "  --sources N       spread over so many addresses of 127.0.0.0/8; 0: leave it to the kernel (0)\n"
    "  --at-once N       so many connect or log in at the same time; 0: all of them (256)\n"
    "  --together        configure, subscribe and authorize in one packet\n"
    "  --roll            roll versions\n"
    "  --resume          subscribe with the old session when coming back\n"
    "  --reconnect S     come back within S seconds after a loss; 0: do not (0)\n"
    "  --login-limit S   all must have logged in by then (60)\n"
    "  --window N        closed loop: each keeps N shares unanswered; 0: no shares (1)\n"
    "  --rate N          open loop instead: N shares a second in all, latency from when each was due\n"
    "  --poisson         at random times, not evenly\n"
    "  --backlog N       open loop: nobody has more unanswered (1024)\n"
    "  --duplicates X    this share (0..1) of submits repeats an earlier one\n"
    "  --warm-up S       before measuring (1)\n"
    "  --seconds S       measured; 0: until standard input ends (10)\n"
    "  --drain S         wait for answers at the end (5)\n"
    "  --rest US         look at the sockets no more often, as a network card that collects its interrupts (0)\n"
    "  --stamps          have the kernel note when it receives\n"
    "  --log FILE        write jobs and acknowledged shares there\n"
    "  --seed N          of everything random; 0: another each time (0)\n";

void die(const char *what)
{
    fprintf(stderr, "stratum-load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

void *resized(void *memory, size_t bytes)
{
    void *given = realloc(memory, bytes ? bytes : 1);

    if (!given)
        die("no memory");
    return given;
}

static int64_t clock_of(clockid_t which)
{
    struct timespec now;

    clock_gettime(which, &now);
    return now.tv_sec * NANO + now.tv_nsec;
}

int64_t clock_now(void) { return clock_of(CLOCK_MONOTONIC); }

/* xorshift64*: good enough to spread things. */
uint64_t random_next(load *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return l->random * 0x2545f4914f6cdd1du;
}

double random_share(load *l) { return (double)(random_next(l) >> 11) * 0x1p-53; }

/* ---- Options ---- */

static double number(const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);

    errno = 0;
    if (end == text || *end || !(value >= least && value <= most)) {
        fprintf(stderr, "stratum-load: %s is not a number from %g to %g\n", text, least, most);
        exit(2);
    }
    return value;
}

static uint32_t whole(const char *text, double least, double most) { return (uint32_t)number(text, least, most); }

enum { CONNECTIONS = 1, FIRST, PREFIX, SOURCES, AT_ONCE, TOGETHER, ROLL, RESUME, RECONNECT, LOGIN_LIMIT, WINDOW, RATE,
       POISSON, BACKLOG, DUPLICATES, WARM, SECONDS, DRAINING, REST, STAMPS, LOG, SEED };

static const struct option options[] = {
    {"connections", 1, NULL, CONNECTIONS}, {"first", 1, NULL, FIRST},         {"prefix", 1, NULL, PREFIX},
    {"sources", 1, NULL, SOURCES},         {"at-once", 1, NULL, AT_ONCE},     {"together", 0, NULL, TOGETHER},
    {"roll", 0, NULL, ROLL},               {"resume", 0, NULL, RESUME},       {"reconnect", 1, NULL, RECONNECT},
    {"login-limit", 1, NULL, LOGIN_LIMIT}, {"window", 1, NULL, WINDOW},       {"rate", 1, NULL, RATE},
    {"poisson", 0, NULL, POISSON},         {"backlog", 1, NULL, BACKLOG},     {"duplicates", 1, NULL, DUPLICATES},
    {"warm-up", 1, NULL, WARM},            {"seconds", 1, NULL, SECONDS},     {"drain", 1, NULL, DRAINING},
    {"rest", 1, NULL, REST},               {"stamps", 0, NULL, STAMPS},       {"log", 1, NULL, LOG},
    {"seed", 1, NULL, SEED},               {"help", 0, NULL, 'h'},            {NULL, 0, NULL, 0},
};

static void take_option(load *l, int option)
{
    static const double DAY = 86400, MANY = 1e6;

    switch (option) {
    case CONNECTIONS: l->connections = whole(optarg, 1, MANY); break;
    case FIRST: l->first = whole(optarg, 0, 1e9); break;
    case PREFIX: l->prefix = optarg; break;
    case SOURCES: l->sources = whole(optarg, 0, 250); break;
    case AT_ONCE: l->logging_in_limit = whole(optarg, 0, MANY); break;
    case TOGETHER: l->together = true; break;
    case ROLL: l->roll = true; break;
    case RESUME: l->resume = true; break;
    case RECONNECT: l->reconnect_s = number(optarg, 0, DAY); break;
    case LOGIN_LIMIT: l->login_limit_s = number(optarg, 0, DAY); break;
    case WINDOW: l->window = whole(optarg, 0, 4096); break;
    case RATE: l->rate = number(optarg, 0, 1e7); break;
    case POISSON: l->poisson = true; break;
    case BACKLOG: l->backlog = whole(optarg, 1, 16384); break;
    case DUPLICATES: l->duplicates = number(optarg, 0, 1); break;
    case WARM: l->warm_up_s = number(optarg, 0, DAY); break;
    case SECONDS: l->seconds = number(optarg, 0, 1e9); break;
    case DRAINING: l->drain_s = number(optarg, 0, DAY); break;
    case REST: l->rest_us = whole(optarg, 0, 1e5); break;
    case STAMPS: l->stamps = true; break;
    case LOG: l->log_file = optarg; break;
    case SEED: l->seed = (uint64_t)number(optarg, 0, 0x1p53); break;
    case 'h': fputs(usage, stdout); exit(0);
    default: exit(2);
    }
}

static void read_options(load *l, int argc, char **argv)
{
    struct in_addr address;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
        take_option(l, option);
    if (argc - optind != 2 || inet_pton(AF_INET, argv[optind], &address) != 1) {
        fputs(usage, stderr);
        exit(2);
    }
    l->host = argv[optind];
    l->port = argv[optind + 1];
    if (strlen(l->prefix) > 128)
        die("the prefix is too long");
}

/* ---- Setting up ---- */

static void allow_files(uint32_t connections)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < connections + 16)
        die("too many connections for the limit of open files (ulimit -Hn)");
}

static void set_up(load *l)
{
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = &l->stopping};
    struct epoll_event alarm = {.events = EPOLLIN, .data.ptr = &l->alarm};

    signal(SIGPIPE, SIG_IGN);
    allow_files(l->connections);
    l->random = l->seed ? l->seed : (uint64_t)clock_of(CLOCK_REALTIME) ^ (uint64_t)getpid() << 40;
    for (int i = 0; i < 8; i++)
        random_next(l); /* seeds that are alike part */
    l->source_base = 127u << 24 | 1u << 16 | (uint32_t)(random_next(l) & 0xffff00) | 1u;
    l->all = resized(NULL, l->connections * sizeof *l->all);
    memset(l->all, 0, l->connections * sizeof *l->all);
    l->tip_at = resized(NULL, l->connections * sizeof *l->tip_at);
    for (uint32_t i = 0; i < l->connections; i++) {
        l->all[i].fd = -1;
        l->all[i].number = l->first + i;
        l->all[i].start = random_next(l);
    }
    if (l->log_file && !(l->log = fopen(l->log_file, "w")))
        die(l->log_file);
    if (l->log)
        setvbuf(l->log, NULL, _IOFBF, LOG_BUFFER);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->epoll < 0 || l->alarm < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->alarm, &alarm) != 0)
        die("epoll");
    /* A file that is no pipe cannot be waited for, and tells nothing. */
    epoll_ctl(l->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
}

/* ---- Phases ---- */

static void fail(load *l, const char *why)
{
    l->failure = why;
    l->phase = DONE;
}

static void enter(load *l, phase next, int64_t now, double seconds)
{
    l->phase = next;
    l->phase_ends = seconds > 0 || next == DRAIN ? now + (int64_t)(seconds * NANO) : INT64_MAX;
}

static void begin_sending(load *l, int64_t now)
{
    enter(l, WARM_UP, now, l->warm_up_s + 1e-9);
    l->next_due = now;
    for (uint32_t i = 0; i < l->connections; i++)
        shares_fill(l, &l->all[i]);
}

static bool all_answered(const load *l)
{
    for (uint32_t i = 0; i < l->connections; i++)
        if (l->all[i].outstanding)
            return false;
    return true;
}

static bool has_rate(const load *l) { return l->rate > 0 && (l->phase == WARM_UP || l->phase == MEASURE); }

static void next_due(load *l)
{
    double wait = l->poisson ? -log1p(-random_share(l)) : 1.0;

    l->next_due += (int64_t)(wait / l->rate * NANO);
}

/* Those that are due; not all at once after a pause, for answers must be read meanwhile. */
static void send_due(load *l, int64_t now)
{
    for (int sent = 0; sent < DUE_AT_ONCE && l->next_due <= now; sent++) {
        shares_send_due(l, l->next_due);
        next_due(l);
    }
}

static void stop(load *l, int64_t now)
{
    l->stopping = true;
    for (; has_rate(l) && l->next_due < now; next_due(l))
        l->unsent++; /* they would have been late, and must not be forgotten */
    if (l->phase == LOGIN || l->phase == WARM_UP) {
        fail(l, "stopped before anything was measured");
    } else if (l->phase == MEASURE) {
        l->measure_ended = now;
        enter(l, DRAIN, now, l->drain_s);
        report_phase(l, "measured");
    }
}

static void move_on(load *l, int64_t now)
{
    bool nobody = l->begun == l->connections && l->ready + l->logging_in + l->absent == 0;

    if (l->phase == LOGIN && l->ready == l->connections)
        begin_sending(l, now);
    else if (l->phase == LOGIN && (nobody || now >= l->phase_ends))
        fail(l, nobody ? "every connection was lost" : "not all connections logged in");
    if (l->phase == WARM_UP && now >= l->phase_ends) {
        enter(l, MEASURE, now, l->seconds);
        l->measure_began = now;
        report_phase(l, "measuring");
    }
    if ((l->phase == WARM_UP || l->phase == MEASURE) && nobody) {
        l->measure_ended = now;
        fail(l, "every connection was lost");
    }
    if (l->phase == MEASURE && now >= l->phase_ends)
        stop(l, now);
    if (l->phase == DRAIN && (now >= l->phase_ends || all_answered(l)))
        l->phase = DONE;
}

static void begin_some(load *l)
{
    uint32_t limit = l->logging_in_limit ? l->logging_in_limit : l->connections;

    while (l->begun < l->connections && l->logging_in < limit)
        session_begin(l, &l->all[l->begun++]);
}

static void bring_back(load *l, int64_t now)
{
    for (uint32_t i = 0; i < l->begun && l->absent > 0; i++)
        if (l->all[i].retry_at && l->all[i].retry_at <= now)
            session_begin(l, &l->all[i]);
}

static void set_alarm(load *l, int64_t now)
{
    int64_t next = l->phase_ends;

    if (has_rate(l) && l->next_due < next)
        next = l->next_due;
    if ((l->absent > 0 || l->phase == DRAIN) && now + TICK < next)
        next = now - now % TICK + TICK;
    if (next == l->alarm_set && next > now)
        return;
    struct itimerspec when = {.it_value = {.tv_sec = next / NANO, .tv_nsec = next % NANO}};
    l->alarm_set = next;
    timerfd_settime(l->alarm, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Standard input ended, or says something: whoever started this wants it to end. */
static void heed_input(load *l)
{
    if (!l->stopping)
        stop(l, clock_now());
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

static void run(load *l)
{
    struct epoll_event events[EVENTS];
    int count = EVENTS;

    l->login_began = clock_now();
    enter(l, LOGIN, l->login_began, l->login_limit_s);
    while (l->phase != DONE) {
        int64_t now = clock_now();

        l->utc_offset = clock_of(CLOCK_REALTIME) - now;
        begin_some(l);
        if (l->absent > 0)
            bring_back(l, now);
        if (has_rate(l))
            send_due(l, now);
        move_on(l, now);
        if (l->log)
            fflush(l->log);
        if (l->phase == DONE)
            return;
        set_alarm(l, now);
        if (l->rest_us > 0 && count < EVENTS)
            usleep(l->rest_us);
        count = epoll_wait(l->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            uint64_t times;
            if (events[i].data.ptr == &l->stopping)
                heed_input(l);
            else if (events[i].data.ptr == &l->alarm)
                l->alarm_set = read(l->alarm, &times, sizeof times) > 0 ? 0 : l->alarm_set;
            else
                session_event(l, events[i].data.ptr, events[i].events);
        }
    }
}

int main(int argc, char **argv)
{
    static load l = {
        .prefix = "w",
        .connections = 1,
        .logging_in_limit = 256,
        .window = 1,
        .backlog = 1024,
        .seconds = 10,
        .warm_up_s = 1,
        .drain_s = 5,
        .login_limit_s = 60,
    };

    read_options(&l, argc, argv);
    set_up(&l);
    run(&l);
    if (l.tip_told > 0)
        report_tip(&l);
    report_result(&l);
    if (l.log && fclose(l.log) != 0)
        die("the log");
    return l.failure ? 1 : 0;
}
