/* shares.c: makes shares by counting, sends them, and holds every answer against what was sent. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { FIRST_ROOM = 8, MAX_ROOM = 1 << 16, LONGEST_SUBMIT = 512, BATCH = 64 * 1024 };

/* Submits are gathered here, so that what goes to one connection goes by one call of the kernel. */
static char batch[BATCH];

static char *put(char *to, const char *text, size_t length)
{
    memcpy(to, text, length);
    return to + length;
}

#define PUT(to, literal) put(to, literal, sizeof literal - 1)

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    size_t count = 0;

    do
        digits[sizeof digits - ++count] = (char)('0' + number % 10);
    while (number /= 10);
    return put(to, digits + sizeof digits - count, count);
}

static void put_hex(char *to, uint64_t value, size_t digits)
{
    to[digits] = 0;
    while (digits-- > 0) {
        to[digits] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* Extranonce2 counts, as with an ASIC that has done with all nonces; where it is short and comes round, the nonce,
 * which runs through all its values in an order of its own, keeps the share apart for 2^32 of them. */
void share_words_of(share_words *out, const connection *c, uint64_t count)
{
    uint64_t value = c->start + count;

    put_hex(out->extranonce2, value, (size_t)2 * c->extranonce2_size);
    put_hex(out->nonce, (uint32_t)value * 2654435761u, 8);
    put_hex(out->version_bits, (uint32_t)(value * 0x9e3779b97f4a7c15u >> 32) & c->mask, 8);
}

/* ---- Shares without an answer ---- */

static void grow(connection *c)
{
    uint32_t room = c->room ? 2 * c->room : FIRST_ROOM;
    pending *ring;

    if (room > MAX_ROOM)
        die("a share is unanswered while the connection has sent 65,536 others");
    ring = resized(NULL, room * sizeof *ring);
    memset(ring, 0, room * sizeof *ring);
    for (uint32_t i = 0; i < c->room; i++)
        if (c->ring[i].id)
            ring[c->ring[i].id & (room - 1)] = c->ring[i];
    free(c->ring);
    c->ring = ring;
    c->room = room;
}

static pending *place_for(connection *c, uint64_t id)
{
    while (c->room == 0 || c->ring[id & (c->room - 1)].id)
        grow(c);
    c->outstanding++;
    return &c->ring[id & (c->room - 1)];
}

static pending *place_of(connection *c, int64_t id)
{
    pending *found;

    if (id <= 0 || c->room == 0)
        return NULL;
    found = &c->ring[(uint64_t)id & (c->room - 1)];
    return found->id == (uint64_t)id ? found : NULL;
}

static void vacate(connection *c, pending *p)
{
    job_release(p->job);
    memset(p, 0, sizeof *p);
    c->outstanding--;
}

uint32_t shares_forget(connection *c)
{
    uint32_t forgotten = c->outstanding;

    for (uint32_t i = 0; i < c->room; i++)
        if (c->ring[i].id)
            vacate(c, &c->ring[i]);
    return forgotten;
}

/* ---- Sending ---- */

/* A copy of some earlier share of the same job, now and then, where such are wanted: the server must see them all. */
static bool wants_duplicate(load *l, const connection *c)
{
    return l->duplicates > 0 && c->count > c->job_from && random_share(l) < l->duplicates;
}

static char *put_submit(load *l, connection *c, char *to, int64_t due)
{
    bool duplicate = wants_duplicate(l, c);
    uint64_t count = duplicate ? c->job_from + random_next(l) % (c->count - c->job_from) : c->count++;
    pending *p = place_for(c, c->next_id);
    share_words words;

    share_words_of(&words, c, count);
    *p = (pending){.id = c->next_id++, .count = count, .due = due, .job = c->job, .duplicate = duplicate};
    c->job->users++;
    l->total.sent++;
    l->duplicates_sent += duplicate;
    if (l->phase == MEASURE)
        l->measured.sent++;

    to = PUT(to, "{\"id\":");
    to = put_number(to, p->id);
    to = PUT(to, ",\"method\":\"mining.submit\",\"params\":[\"");
    to = put(to, l->prefix, strlen(l->prefix));
    to = put_number(to, c->number);
    to = PUT(to, "\",\"");
    to = put(to, c->job->id, strlen(c->job->id));
    to = PUT(to, "\",\"");
    to = put(to, words.extranonce2, (size_t)2 * c->extranonce2_size);
    to = PUT(to, "\",\"");
    to = put(to, c->job->ntime, 8);
    to = PUT(to, "\",\"");
    to = put(to, words.nonce, 8);
    if (c->mask) {
        to = PUT(to, "\",\"");
        to = put(to, words.version_bits, 8);
    }
    return PUT(to, "\"]}\n");
}

static bool sending(const load *l) { return l->phase == WARM_UP || l->phase == MEASURE; }

void shares_fill(load *l, connection *c)
{
    char *to = batch;
    int64_t now;

    if (!sending(l) || l->rate > 0 || !c->ready || c->outstanding >= l->window)
        return;
    now = clock_now();
    while (c->outstanding < l->window && to < batch + BATCH - LONGEST_SUBMIT)
        to = put_submit(l, c, to, now);
    session_send(l, c, batch, (size_t)(to - batch));
}

void shares_send_due(load *l, int64_t due)
{
    int64_t late = clock_now() - due;

    /* In turn, or by lot: a farm's shares come in no order. */
    for (uint32_t tries = 0; tries < l->connections; tries++) {
        uint32_t next = l->poisson ? (uint32_t)(random_next(l) % l->connections) : l->turn++ % l->connections;
        connection *c = &l->all[next];
        if (!c->ready || c->outstanding >= l->backlog)
            continue;
        if (l->phase == MEASURE)
            histogram_add(&l->lag, late);
        session_send(l, c, batch, (size_t)(put_submit(l, c, batch, due) - batch));
        return;
    }
    l->unsent++;
}

/* ---- Answers ---- */

static void accepted(load *l, connection *c, const pending *p)
{
    l->total.accepted++;
    l->duplicates_accepted += p->duplicate;
    if (l->phase == MEASURE) {
        l->measured.accepted++;
        c->accepted++;
    }
    log_accepted(l, c, p);
}

/* Returns: the code of an error as the protocol has it, [code, text, ...]; -1 if it is none. */
static int64_t code_of(slice error)
{
    slice items[2];

    return array_items(items, 2, error) == 2 && string_inside(items[1]).at ? whole_number(items[0]) : -1;
}

static void rejected(load *l, const pending *p, int64_t code)
{
    size_t index = code < CODES ? (size_t)code : CODES - 1;

    l->total.rejected[index]++;
    if (l->phase == MEASURE)
        l->measured.rejected[index]++;
    if (p->duplicate && code == 22)
        l->duplicates_rejected++;
    else if (p->duplicate)
        l->duplicates_other++;
}

void shares_answer(load *l, connection *c, const message *m, slice line)
{
    pending *p = place_of(c, whole_number(m->id));
    bool good = slice_is(m->result, "true") && (!m->error.at || slice_is(m->error, "null"));
    bool none = !m->result.at || slice_is(m->result, "null") || slice_is(m->result, "false");
    int64_t code = none ? code_of(m->error) : -1;

    if (!p) {
        session_odd(l, &l->unexpected, "an answer to nothing that was asked", line);
        return;
    }
    /* By when it was due, not by when it was answered: the slow ones of the end belong to it too. */
    if (p->due >= l->measure_began && l->measure_began && (!l->measure_ended || p->due < l->measure_ended))
        histogram_add(&l->latency, l->read_at - p->due);
    if (good)
        accepted(l, c, p);
    else if (code >= 0)
        rejected(l, p, code);
    else
        session_odd(l, &l->malformed, "neither accepted nor rejected", line);
    vacate(c, p);
}
