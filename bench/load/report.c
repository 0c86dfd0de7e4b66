/* report.c: what whoever started this is told: one JSON object a line, and the log of acknowledged shares. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

static int64_t utc(const load *l, int64_t at) { return at + l->utc_offset; }

static int ascending(const void *left, const void *right)
{
    int64_t a, b;

    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

/* Whoever reads may wait for this very line. */
static void end_line(void)
{
    puts("}");
    fflush(stdout);
}

static void print_string(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        if ((unsigned char)*text < ' ' || (unsigned char)*text >= 0x7f)
            printf("\\u%04x", (unsigned char)*text);
        else
            putchar(*text);
    }
    putchar('"');
}

static void print_times(const char *name, const histogram *h, int64_t unit)
{
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

    printf(",\"%s\":{\"n\":%" PRIu64, name, h->count);
    if (h->count > 0) {
        printf(",\"min\":%.3f,\"mean\":%.3f", (double)h->min / (double)unit,
               h->sum / (double)h->count / (double)unit);
        for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
            printf(",\"%s\":%.3f", quantiles[i].name,
                   (double)histogram_quantile(h, quantiles[i].share) / (double)unit);
        printf(",\"max\":%.3f", (double)h->max / (double)unit);
    }
    putchar('}');
}

static void print_counts(const char *name, const counts *c)
{
    const char *comma = "";

    printf(",\"%s\":{\"sent\":%" PRIu64 ",\"accepted\":%" PRIu64 ",\"rejected\":{", name, c->sent, c->accepted);
    for (int code = 0; code < CODES; code++)
        if (c->rejected[code]) {
            printf("%s\"%d\":%" PRIu64, comma, code, c->rejected[code]);
            comma = ",";
        }
    printf("}}");
}

/* ---- Events ---- */

void report_ready(const load *l)
{
    int64_t now = clock_now(), since = l->lost_at ? l->lost_at : l->login_began;

    printf("{\"event\":\"ready\",\"at_utc_ns\":%" PRId64 ",\"connections\":%" PRIu32 ",\"seconds\":%.6f", utc(l, now),
           l->connections, (double)(now - since) / NANO);
    print_times("login_ms", &l->login, MILLI);
    end_line();
}

void report_lost(load *l)
{
    l->lost_at = clock_now();
    printf("{\"event\":\"lost\",\"at_utc_ns\":%" PRId64, utc(l, l->lost_at));
    end_line();
}

void report_tip(load *l)
{
    qsort(l->tip_at, l->tip_told, sizeof *l->tip_at, ascending);
    printf("{\"event\":\"tip\",\"prev_hash\":\"%s\",\"connections\":%" PRIu32 ",\"missing\":%" PRIu32,
           l->tip_prev_hash, l->tip_told, l->tip_due - l->tip_told);
    printf(",\"first_utc_ns\":%" PRId64 ",\"median_utc_ns\":%" PRId64 ",\"last_utc_ns\":%" PRId64,
           utc(l, l->tip_at[0]), utc(l, l->tip_at[l->tip_told / 2]), utc(l, l->tip_at[l->tip_told - 1]));
    end_line();
    l->tip_told = l->tip_due = 0;
}

void report_phase(const load *l, const char *event)
{
    printf("{\"event\":\"%s\",\"at_utc_ns\":%" PRId64 ",\"sent\":%" PRIu64 ",\"accepted\":%" PRIu64, event,
           utc(l, clock_now()), l->total.sent, l->total.accepted);
    end_line();
}

/* How evenly the server served: shares accepted while measuring, by connection. */
static void print_spread(const load *l)
{
    int64_t *sorted = resized(NULL, l->connections * sizeof *sorted);

    for (uint32_t i = 0; i < l->connections; i++)
        sorted[i] = (int64_t)l->all[i].accepted;
    qsort(sorted, l->connections, sizeof *sorted, ascending);
    printf(",\"per_connection\":{\"min\":%" PRId64 ",\"median\":%" PRId64 ",\"max\":%" PRId64 "}", sorted[0],
           sorted[l->connections / 2], sorted[l->connections - 1]);
    free(sorted);
}

static void print_difficulties(const load *l)
{
    double least = l->all[0].difficulty, most = least;

    for (uint32_t i = 1; i < l->connections; i++) {
        double difficulty = l->all[i].difficulty;
        least = difficulty < least ? difficulty : least;
        most = difficulty > most ? difficulty : most;
    }
    printf(",\"difficulty\":{\"min\":%g,\"max\":%g}", least, most);
}

void report_result(const load *l)
{
    int64_t ended = l->measure_ended ? l->measure_ended : clock_now();
    uint64_t unanswered = 0;

    for (uint32_t i = 0; i < l->connections; i++)
        unanswered += l->all[i].outstanding;
    printf("{\"event\":\"result\",\"connections\":%" PRIu32 ",\"ready\":%" PRIu32 ",\"seconds\":%.6f", l->connections,
           l->ready, l->measure_began ? (double)(ended - l->measure_began) / NANO : 0.0);
    print_counts("measured", &l->measured);
    print_counts("total", &l->total);
    printf(",\"unanswered\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"unsent\":%" PRIu64, unanswered, l->lost, l->unsent);
    printf(",\"unexpected\":%" PRIu64 ",\"malformed\":%" PRIu64, l->unexpected, l->malformed);
    printf(",\"duplicates\":{\"sent\":%" PRIu64 ",\"found\":%" PRIu64, l->duplicates_sent, l->duplicates_rejected);
    printf(",\"accepted\":%" PRIu64 ",\"other\":%" PRIu64 "}", l->duplicates_accepted, l->duplicates_other);
    print_times("latency_ms", &l->latency, MILLI);
    print_times("sent_late_ms", &l->lag, MILLI);
    print_times("login_ms", &l->login, MILLI);
    print_spread(l);
    print_difficulties(l);
    printf(",\"jobs\":%" PRIu64 ",\"tips\":%" PRIu64 ",\"disconnects\":%" PRIu64 ",\"connect_failures\":%" PRIu64,
           l->table.jobs, l->table.tips, l->disconnects, l->connect_failures);
    printf(",\"asked_away\":%" PRIu64 ",\"messages\":%" PRIu64, l->asked_away, l->messages);
    if (*l->oddity) {
        printf(",\"oddity\":");
        print_string(l->oddity);
    }
    if (l->failure) {
        printf(",\"failure\":");
        print_string(l->failure);
    }
    end_line();
}

/* ---- The log: a line "job NUMBER NOTIFY" before the first share of each job, and for each acknowledged share a line
 * "share CONNECTION EXTRANONCE1 JOB EXTRANONCE2 NTIME NONCE BITS", with - where no version is rolled ---- */

void log_job(const load *l, const job *j)
{
    if (l->log)
        fprintf(l->log, "job %" PRIu64 " %.*s\n", j->number, (int)j->length, j->line);
}

void log_accepted(const load *l, const connection *c, const pending *p)
{
    share_words words;

    if (!l->log)
        return;
    share_words_of(&words, c, p->count);
    fprintf(l->log, "share %" PRIu32 " %s %" PRIu64 " %s %s %s %s\n", c->number, c->extranonce1, p->job->number,
            words.extranonce2, p->job->ntime, words.nonce, c->mask ? words.version_bits : "-");
}
