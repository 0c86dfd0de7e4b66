/* submit.c: submissions as miners send them, judged line by line.
 *
 * The parser takes what is a plain submission beyond doubt and leaves everything else alone; it need not say what
 * is wrong with it. The judge gives the verdicts of miner/work/share.py in the same order.
 */
#include <math.h>
#include <string.h>

#include "internal.h"

/* ---- A line of JSON ---- */

/* Bytes of the line; null if there is none. */
typedef struct {
    const uint8_t *at;
    size_t length;
} text;

typedef struct {
    const uint8_t *at, *end;
} cursor;

enum { WORKER, JOB, EXTRANONCE2, NTIME, NONCE, VERSION_BITS, MOST_PARAMS };

typedef struct {
    text id, method; /* the id as it stands there, quotes included */
    text params[MOST_PARAMS];
    size_t param_count;
} request;

static int is(text a, const char *literal) { return a.length == strlen(literal) && memcmp(a.at, literal, a.length) == 0; }

static void skip_space(cursor *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\r'))
        in->at++;
}

/* Space, then this byte, then space. */
static int take_mark(cursor *in, uint8_t mark)
{
    skip_space(in);
    if (in->at == in->end || *in->at != mark)
        return 0;
    in->at++;
    skip_space(in);
    return 1;
}

/* A string without anything to unescape.  Out: what is between the quotes; `ascii` tells if no byte is above 0x7f
 * (others may be no UTF-8). */
static int take_string(cursor *in, text *out, int *ascii)
{
    uint8_t all = 0;

    if (in->at == in->end || *in->at != '"')
        return 0;
    out->at = ++in->at;
    for (; in->at < in->end; in->at++) {
        uint8_t c = *in->at;
        if (c == '"') {
            out->length = (size_t)(in->at++ - out->at);
            *ascii = all < 0x80;
            return 1;
        }
        if (c < 0x20 || c == '\\')
            return 0;
        all |= c;
    }
    return 0;
}

static int take_ascii(cursor *in, text *out)
{
    int ascii;

    return take_string(in, out, &ascii) && ascii;
}

static int is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

static int take_word(cursor *in, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(in->end - in->at) < length || memcmp(in->at, word, length) != 0)
        return 0;
    in->at += length;
    return 1;
}

/* A whole number of at most 18 digits. */
static int take_integer(cursor *in)
{
    const uint8_t *first;

    if (in->at < in->end && *in->at == '-')
        in->at++;
    for (first = in->at; in->at < in->end && is_digit(*in->at);)
        in->at++;
    return in->at > first && in->at - first <= 18 && (*first != '0' || in->at - first == 1);
}

/* An integer, or one with a fraction of at most 18 digits. */
static int take_number(cursor *in)
{
    const uint8_t *first;

    if (!take_integer(in))
        return 0;
    if (in->at == in->end || *in->at != '.')
        return 1;
    for (first = ++in->at; in->at < in->end && is_digit(*in->at);)
        in->at++;
    return in->at > first && in->at - first <= 18;
}

/* Any value that holds no other. */
static int skip_scalar(cursor *in)
{
    text ignored;

    if (in->at == in->end)
        return 0;
    switch (*in->at) {
    case '"': return take_ascii(in, &ignored);
    case 't': return take_word(in, "true");
    case 'f': return take_word(in, "false");
    case 'n': return take_word(in, "null");
    default: return take_number(in);
    }
}

/* An id: a whole number, a string or null, not too long to be given back. */
static int take_id(cursor *in, text *out)
{
    text ignored;
    int good;

    out->at = in->at;
    if (in->at < in->end && *in->at == '"')
        good = take_ascii(in, &ignored);
    else if (in->at < in->end && *in->at == 'n')
        good = take_word(in, "null");
    else
        good = take_integer(in);
    out->length = (size_t)(in->at - out->at);
    return good && out->length <= HM_MAX_ANSWER - 80 && !is(*out, "-0");
}

static int take_params(cursor *in, request *out)
{
    if (!take_mark(in, '['))
        return 0;
    do {
        int ascii;
        if (out->param_count == MOST_PARAMS || !take_string(in, &out->params[out->param_count], &ascii))
            return 0;
        /* The worker is compared with a name that is known to be good. */
        if (!ascii && out->param_count != WORKER)
            return 0;
        out->param_count++;
    } while (take_mark(in, ','));
    return take_mark(in, ']');
}

static int take_member(cursor *in, request *out)
{
    text key;

    if (!take_ascii(in, &key) || !take_mark(in, ':'))
        return 0;
    if (is(key, "params"))
        return out->param_count == 0 && take_params(in, out);
    if (is(key, "id"))
        return !out->id.at && take_id(in, &out->id);
    if (is(key, "method"))
        return !out->method.at && take_ascii(in, &out->method);
    return skip_scalar(in);
}

/* A request with five or six parameters, all of them strings, an id and a method, each once. */
static int parse(request *out, const uint8_t *line, const uint8_t *end)
{
    cursor in = {line, end};

    memset(out, 0, sizeof *out);
    if (!take_mark(&in, '{'))
        return 0;
    do {
        if (!take_member(&in, out))
            return 0;
    } while (take_mark(&in, ','));
    return take_mark(&in, '}') && in.at == end && out->id.at && out->method.at && out->param_count >= VERSION_BITS;
}

/* ---- What the parameters say ---- */

/* Value of a hex digit; 16 or more for anything else. */
static unsigned hex_digit(uint8_t c)
{
    unsigned letter = (unsigned)(c | 0x20) - 'a';

    return is_digit(c) ? (unsigned)(c - '0') : letter < 6 ? letter + 10 : 16;
}

static int hex_bytes(uint8_t *out, size_t length, text in)
{
    if (in.length != 2 * length)
        return 0;
    for (size_t i = 0; i < length; i++) {
        unsigned high = hex_digit(in.at[2 * i]), low = hex_digit(in.at[2 * i + 1]);
        if ((high | low) > 15)
            return 0;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return 1;
}

static int hex_word(uint32_t *out, text in)
{
    uint8_t bytes[4];

    if (!hex_bytes(bytes, sizeof bytes, in))
        return 0;
    *out = hm_load_be(bytes);
    return 1;
}

/* Hex as numbers are written in job ids: small letters, and no zero before others.  Out: number.
 * Returns: how many digits there are; 0 if it is not written so, or has more than 64 bits. */
static size_t hex_number(uint64_t *out, text in)
{
    size_t length = 0;

    *out = 0;
    for (; length < in.length && hex_digit(in.at[length]) < 16; length++) {
        if (length == 16 || (in.at[length] >= 'A' && in.at[length] <= 'F'))
            return 0;
        *out = *out << 4 | hex_digit(in.at[length]);
    }
    return length > 1 && in.at[0] == '0' ? 0 : length;
}

/* A submission on a job of the board. */
typedef struct {
    uint32_t slot; /* of the job */
    const hm_level *level;
    uint8_t extranonce2[HM_MAX_EXTRANONCE];
    uint32_t ntime, nonce, version;
} submission;

/* The level that a job of this serial was sent with, if the id does not name one. */
static const hm_level *level_of(const hm_taker *taker, uint64_t serial)
{
    uint32_t i = taker->level_count;

    while (i > 1 && taker->levels[i - 1].from > serial)
        i--;
    return i > 0 ? &taker->levels[i - 1] : NULL;
}

/* The level of this number; those that are no longer kept count as the oldest one that is. */
static const hm_level *level_named(const hm_taker *taker, uint64_t number)
{
    if (taker->level_count > 0 && number < taker->levels[0].number)
        return &taker->levels[0];
    for (uint32_t i = 0; i < taker->level_count; i++)
        if (taker->levels[i].number == number)
            return &taker->levels[i];
    return NULL;
}

/* `<serial>` or `<serial>.<level>`. */
static int read_job(submission *out, const hm_taker *taker, text id)
{
    uint64_t serial, number;
    size_t digits = hex_number(&serial, id);
    const hm_board_job *job;

    out->slot = (uint32_t)(serial % HM_BOARD_JOBS);
    job = &taker->board->jobs[out->slot];
    if (digits == 0 || !job->present || job->serial != serial)
        return 0;
    if (digits == id.length) {
        out->level = level_of(taker, serial);
    } else {
        text rest = {id.at + digits + 1, id.length - digits - 1};
        if (id.at[digits] != '.' || rest.length == 0 || hex_number(&number, rest) != rest.length)
            return 0;
        const hm_level *sent = level_of(taker, serial);

        out->level = level_named(taker, number);
        /* An older level than the job was sent under would let the miner choose its credit after it knows the hash. */
        if (out->level != NULL && out->level < sent)
            out->level = sent;
    }
    return out->level != NULL;
}

static int read_submission(submission *out, const hm_taker *taker, const request *from)
{
    const text *params = from->params;
    const hm_board_job *job;
    uint32_t bits = 0;

    if (!is(from->method, "mining.submit") || params[WORKER].length != taker->worker_length ||
        memcmp(params[WORKER].at, taker->worker, taker->worker_length) != 0 || !read_job(out, taker, params[JOB]))
        return 0;
    job = &taker->board->jobs[out->slot];
    if (job->extranonce1_length != taker->extranonce1_length || job->extranonce2_length > HM_MAX_EXTRANONCE ||
        !hex_bytes(out->extranonce2, job->extranonce2_length, params[EXTRANONCE2]) ||
        !hex_word(&out->ntime, params[NTIME]) || !hex_word(&out->nonce, params[NONCE]))
        return 0;
    if (from->param_count == MOST_PARAMS && !(taker->rolls_version && hex_word(&bits, params[VERSION_BITS])))
        return 0;
    out->version = job->version | (bits & taker->version_mask & job->version_mask);
    return out->ntime >= job->min_time && out->ntime <= job->max_time;
}

/* ---- Verdict, records, answers ---- */

/* Whether a digest, read as a number, is at most the target. */
static int meets(const uint8_t digest[32], const uint8_t target[32])
{
    for (int i = 28; i >= 0; i -= 4) {
        uint32_t have = hm_load_le(digest + i), most = hm_load_le(target + i);
        if (have != most)
            return have < most;
    }
    return 1;
}

/* Difficulty of the hardest target that the digest meets. */
static double difficulty_of(const uint8_t digest[32])
{
    double number = 0;

    for (int i = 28; i >= 0; i -= 4)
        number = number * 0x1p32 + hm_load_le(digest + i);
    return 0x1.fffep223 / (number < 1 ? 1 : number);
}

static uint8_t *store_le64(uint8_t *out, uint64_t number)
{
    hm_store_le(out, (uint32_t)number);
    hm_store_le(out + 4, (uint32_t)(number >> 32));
    return out + 8;
}

static uint8_t *store_double(uint8_t *out, double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return store_le64(out, bits);
}

static void record(hm_outbox *outbox, uint32_t unit, const hm_board_job *job, double difficulty,
                   const uint8_t hash[32], double now)
{
    uint8_t *at = outbox->records + HM_RECORD * outbox->count++;

    hm_store_le(at, unit);
    hm_store_le(at + 4, job->tip);
    at = store_double(at + 8, now);
    at = store_double(at, difficulty);
    at = store_le64(at, job->serial);
    memcpy(at, hash, 32);
}

static void credit(hm_tally *tally, double difficulty, const uint8_t hash[32], double now)
{
    double reached = difficulty_of(hash);

    tally->accepted++;
    tally->work += difficulty;
    tally->work_squared += difficulty * difficulty;
    if (reached > tally->best_difficulty)
        tally->best_difficulty = reached;
    if (reached > tally->best_lately)
        tally->best_lately = reached;
    tally->last_share_at = now;
}

static void append(hm_outbox *outbox, const void *bytes, size_t length)
{
    memcpy(outbox->answers + outbox->answers_length, bytes, length);
    outbox->answers_length += length;
}

static void answer(hm_outbox *outbox, text id, const char *result)
{
    append(outbox, "{\"id\":", 6);
    append(outbox, id.at, id.length);
    append(outbox, result, strlen(result));
}

static const char *const rejections[] = {
    [HM_REASON_STALE] = ",\"result\":null,\"error\":[21,\"Stale share\",null]}\n",
    [HM_REASON_DUPLICATE] = ",\"result\":null,\"error\":[22,\"Duplicate share\",null]}\n",
    [HM_REASON_LOW_DIFFICULTY] = ",\"result\":null,\"error\":[23,\"Low difficulty share\",null]}\n",
};

enum { ACCEPTED = 0, UNDECIDED = -1 };

/* Returns: ACCEPTED (it is then in the set and in the records), the reason why not, or UNDECIDED. */
static int judge(hm_taker *taker, const submission *share, double now)
{
    const hm_board_job *job = &taker->board->jobs[share->slot];
    uint8_t header[80], hash[32];
    int added;

    hm_share_header(header, hash, job->job, taker->extranonce1, taker->extranonce1_length, share->extranonce2,
                    job->extranonce2_length, taker->payout, taker->payout_length, share->ntime, share->nonce,
                    share->version);
    taker->ended = HM_ENDED_OTHER;
    if (meets(hash, job->target))
        return UNDECIDED;
    if (!(isinf(job->good_until) && job->good_until > 0) && !(now <= job->good_until))
        return HM_REASON_STALE;
    if (!meets(hash, share->level->target))
        return HM_REASON_LOW_DIFFICULTY;
    if (taker->outbox->count >= taker->outbox->capacity && !hm_seen_has(job->seen, hash)) {
        taker->ended = HM_ENDED_RECORDS;
        return UNDECIDED;
    }
    added = hm_seen_add(job->seen, hash);
    if (added == HM_FULL) {
        taker->ended = HM_ENDED_SEEN;
        taker->wants_room = share->slot;
        return UNDECIDED;
    }
    if (added == 0)
        return HM_REASON_DUPLICATE;
    record(taker->outbox, taker->unit, job, share->level->difficulty, hash, now);
    credit(taker->tally, share->level->difficulty, hash, now);
    return ACCEPTED;
}

/* Returns: 1 if the line was answered; else taker->ended says why not. */
static int take_line(hm_taker *taker, const uint8_t *line, const uint8_t *end, double now)
{
    hm_outbox *outbox = taker->outbox;
    request from;
    submission share;
    int verdict;

    taker->ended = HM_ENDED_ANSWERS;
    if (outbox->answers_capacity - outbox->answers_length < HM_MAX_ANSWER)
        return 0;
    taker->ended = HM_ENDED_OTHER;
    if (end - line > HM_MAX_LINE || !parse(&from, line, end) || !read_submission(&share, taker, &from))
        return 0;
    verdict = judge(taker, &share, now);
    if (verdict == UNDECIDED)
        return 0;
    if (verdict == ACCEPTED) {
        taker->accepted++;
        taker->work += share.level->difficulty;
        answer(outbox, from.id, ",\"result\":true,\"error\":null}\n");
    } else {
        taker->rejected++;
        taker->tally->rejected[verdict]++;
        answer(outbox, from.id, rejections[verdict]);
    }
    return 1;
}

size_t hm_take(hm_taker *taker, const uint8_t *data, size_t length, size_t start, double now)
{
    taker->accepted = taker->rejected = 0;
    taker->work = 0;
    taker->outbox->answers_length = 0;
    while (start < length) {
        const uint8_t *line = data + start, *end = memchr(line, '\n', length - start);
        if (!end)
            break;
        if (!take_line(taker, line, end, now))
            return start;
        start = (size_t)(end - data) + 1;
    }
    taker->ended = HM_ENDED_DONE;
    return start;
}

int64_t hm_take_chunk(hm_taker *taker, const uint8_t *data, size_t length, double now)
{
    size_t end = hm_take(taker, data, length, 0, now);
    uint64_t told = taker->outbox->answers_length;

    if (end != length || told > 0xffff)
        return -1 - (int64_t)end;
    /* An answer is longer than one byte: there are fewer of them than bytes. */
    return (int64_t)(told | (uint64_t)taker->accepted << 16 | (uint64_t)taker->rejected << 32);
}

int hm_taker_set_level(hm_taker *taker, uint64_t number, uint64_t from, double difficulty, const uint8_t target[32])
{
    hm_level *level = taker->levels + taker->level_count;

    if (taker->level_count > 0 && number <= level[-1].number) {
        if (number < level[-1].number)
            return HM_INVALID;
        level--;
    } else if (taker->level_count == HM_LEVELS) {
        memmove(taker->levels, taker->levels + 1, (HM_LEVELS - 1) * sizeof *level);
        level--;
    } else {
        taker->level_count++;
    }
    level->number = number;
    level->from = from;
    level->difficulty = difficulty;
    memcpy(level->target, target, sizeof level->target);
    return HM_OK;
}
