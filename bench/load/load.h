/* load.h: a load generator for Stratum V1 servers: many miners in one thread, none of which hashes.
 *
 * It is for servers whose share difficulty is so low that every hash is a share: a share is then made by counting up.
 * It costs little CPU, because what it takes on a small machine is missing to the server that is measured.
 *
 * Times are nanoseconds of CLOCK_MONOTONIC inside, of CLOCK_REALTIME (names that end in _utc_ns) in what is reported.
 * Memory that cannot be had ends the program: a measurement of half the miners would be worth nothing.
 */
#ifndef HASHMILL_LOAD_H
#define HASHMILL_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define NANO 1000000000LL
#define MILLI 1000000LL

/* Some bytes of a buffer that belongs to somebody else. `at` is null where there is nothing. */
typedef struct {
    const char *at;
    size_t length;
} slice;

bool slice_is(slice text, const char *word);

/* ---- json.c: lines of the protocol ------------------------------------------------------------------------ */

/* The members of a line that the protocol knows, each as it stands there; others are read over. */
typedef struct {
    slice id, method, params, result, error;
} message;

/* Read a line, which must be one JSON object and nothing more.  Returns: whether it is. */
bool message_read(message *out, slice line);
/* The value of a member of an object that stands in a message; nothing if there is none. */
slice object_member(slice object, const char *wanted);
/* The elements of an array that stands in a message.  Returns: how many, at most `capacity`; -1 if it is no array. */
int array_items(slice *items, int capacity, slice array);
/* The inside of a string; nothing if it is none, or holds an escape, which no word of the protocol needs. */
slice string_inside(slice value);
/* A whole number from 0 to 2^63 - 1.  Returns: -1 if it is none. */
int64_t whole_number(slice value);

/* ---- histogram.c: latencies --------------------------------------------------------------------------------- */

/* Exact below 128 ns; above, in steps of at most 1.6 %. */
enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * 59 };

typedef struct {
    uint64_t count;
    double sum;
    int64_t min, max;
    uint64_t bucket[HISTOGRAM_BUCKETS];
} histogram;

void histogram_clear(histogram *h);
/* Add a time; one below zero, which a step of a clock can make, counts as zero. */
void histogram_add(histogram *h, int64_t ns);
/* The time that this share (0..1) of all times does not exceed; 0 if there are none. */
int64_t histogram_quantile(const histogram *h, double share);

/* ---- jobs.c: what is to be hashed ------------------------------------------------------------------------------ */

enum { MAX_ID = 64, MAX_PREV_HASH = 64 };

/* A job as one or, mostly, all connections were told of it. Lines that are alike are one job. */
typedef struct {
    uint64_t number;  /* from 1 in order of arrival */
    uint64_t tip;     /* from 1: grows when the previous block is another one */
    uint32_t users;   /* who holds it: connections, unanswered shares, the table */
    uint64_t hash;    /* of the line */
    size_t length;    /* of the line */
    char id[MAX_ID + 1];
    char prev_hash[MAX_PREV_HASH + 1];
    char ntime[9];
    char line[];
} job;

enum { KNOWN_JOBS = 64 };

typedef struct {
    job *known[KNOWN_JOBS]; /* the last ones, by the hash of their line */
    uint64_t jobs, tips;
    char prev_hash[MAX_PREV_HASH + 1]; /* of the newest tip */
    char older[MAX_PREV_HASH + 1];     /* of the tip before: a late notify does not make it new */
} job_table;

/* The job of a notify, held for the caller.
 * Returns: null if the notify is not one.  Out: fresh (whether it was seen for the first time). */
job *job_of(job_table *table, bool *fresh, slice line, slice params);
void job_release(job *j);

/* ---- The miners --------------------------------------------------------------------------------------------- */

typedef enum { ABSENT, CONNECTING, CONFIGURING, SUBSCRIBING, AUTHORIZING, MINING } stage;

/* A share that was sent and is not answered. */
typedef struct {
    uint64_t id;    /* of the request; 0: nothing here */
    uint64_t count; /* which share of the connection it is */
    int64_t due;    /* when it was sent or, at a given rate, should have been */
    job *job;
    bool duplicate;
} pending;

typedef struct {
    int fd; /* -1: none */
    stage stage;
    uint32_t number;
    bool writing;   /* epoll tells when it takes more */
    bool ready;     /* logged in, with a job */
    bool authorized;
    char *rest;     /* of a line that has not ended */
    size_t rest_length, rest_room;
    char *unsent;   /* what the socket did not take */
    size_t unsent_length, unsent_room;
    job *job;
    uint64_t job_from; /* first share count of this job on this connection */
    uint64_t tip;      /* newest tip it was told of */
    char extranonce1[33], session[MAX_ID + 1];
    uint32_t extranonce2_size;
    uint32_t mask; /* of version rolling; 0: none */
    double difficulty;
    uint64_t start, count; /* shares are start, start + 1, ... */
    uint64_t next_id;
    pending *ring; /* of `room` places (a power of two); a share stands at its id modulo room */
    uint32_t room, outstanding;
    uint64_t accepted;  /* while measuring */
    int64_t began;      /* this connection */
    int64_t retry_at;   /* when ABSENT */
} connection;

enum { CODES = 32 }; /* error codes from 0; what is beyond counts as the last */

typedef struct {
    uint64_t sent, accepted, rejected[CODES];
} counts;

typedef enum { LOGIN, WARM_UP, MEASURE, DRAIN, DONE } phase;

typedef struct {
    /* options */
    const char *host, *port, *prefix, *log_file;
    uint32_t connections, sources, window, first, logging_in_limit, backlog, rest_us;
    double seconds, warm_up_s, drain_s, login_limit_s, rate, duplicates, reconnect_s;
    bool poisson, stamps, roll, resume, together;
    uint64_t seed;

    /* state */
    int epoll, alarm;
    connection *all;
    job_table table;
    phase phase;
    int64_t phase_ends, alarm_set, next_due;
    int64_t login_began, lost_at;
    int64_t utc_offset; /* CLOCK_REALTIME less CLOCK_MONOTONIC */
    int64_t read_at;    /* when the kernel got what is being read; without stamps, when it was read */
    uint32_t begun, logging_in, ready, absent, turn;
    uint64_t random;
    bool stopping;
    const char *failure;
    FILE *log;
    uint32_t source_base;

    /* the newest tip: when each connection was told of it */
    uint64_t tip;
    uint32_t tip_told, tip_due;
    int64_t *tip_at;
    char tip_prev_hash[MAX_PREV_HASH + 1];

    /* results */
    counts total, measured;
    histogram latency, lag, login;
    uint64_t lost, unsent, unexpected, malformed, disconnects, connect_failures, asked_away, messages;
    uint64_t duplicates_sent, duplicates_rejected, duplicates_accepted, duplicates_other;
    int64_t measure_began, measure_ended;
    char oddity[256]; /* the first thing that should not have come */
} load;

/* main.c */
int64_t clock_now(void);
uint64_t random_next(load *l);
double random_share(load *l); /* 0 <= x < 1 */
void *resized(void *memory, size_t bytes);
_Noreturn void die(const char *what);

/* session.c: sockets, login, lines */
void session_begin(load *l, connection *c);
void session_event(load *l, connection *c, uint32_t events);
/* Close it; what it has not been answered is lost. It comes back if the options want that. */
void session_end(load *l, connection *c);
void session_send(load *l, connection *c, const char *text, size_t length);
/* Count an answer that should not have come, and keep the first. */
void session_odd(load *l, uint64_t *counter, const char *why, slice line);

/* shares.c */
/* Send as many shares as the window leaves room for. */
void shares_fill(load *l, connection *c);
/* Send the share that was due at a time, by whichever connection is next. */
void shares_send_due(load *l, int64_t due);
void shares_answer(load *l, connection *c, const message *m, slice line);
/* Forget the shares without an answer.  Returns: how many. */
uint32_t shares_forget(connection *c);

/* report.c: one JSON object a line on standard output, and the log of what was acknowledged */
void report_ready(const load *l);
void report_lost(load *l);
void report_tip(load *l);
void report_phase(const load *l, const char *event);
void report_result(const load *l);
void log_job(const load *l, const job *j);
void log_accepted(const load *l, const connection *c, const pending *p);

/* What is hashed for a share: hexadecimal words of a submit, each ended by a zero. */
typedef struct {
    char extranonce2[33], nonce[9], version_bits[9];
} share_words;

void share_words_of(share_words *out, const connection *c, uint64_t count);

#endif
