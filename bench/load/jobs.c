/* jobs.c: jobs as they were notified. A server tells thousands of miners the same line: it is kept, and read, once. */
#include <stdlib.h>
#include <string.h>

#include "load.h"

enum { ID, PREV_HASH, NTIME = 7, PARAMETERS = 9 };

/* FNV-1a over words: only to find lines that are alike; they are compared in full. */
static uint64_t hash_of(slice line)
{
    uint64_t hash = 0xcbf29ce484222325u, word;
    size_t i = 0;

    for (; i + 8 <= line.length; i += 8) {
        memcpy(&word, line.at + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    for (; i < line.length; i++)
        hash = (hash ^ (unsigned char)line.at[i]) * 0x100000001b3u;
    return hash ^ hash >> 29;
}

static bool copy(char *to, size_t room, slice value)
{
    slice text = string_inside(value);

    if (!text.at || text.length == 0 || text.length >= room)
        return false;
    memcpy(to, text.at, text.length);
    to[text.length] = 0;
    return true;
}

static job *read_job(slice line, slice params)
{
    slice items[PARAMETERS];
    job *made;

    if (array_items(items, PARAMETERS, params) < PARAMETERS)
        return NULL;
    made = resized(NULL, sizeof *made + line.length);
    memset(made, 0, sizeof *made);
    memcpy(made->line, line.at, line.length);
    made->length = line.length;
    if (!copy(made->id, sizeof made->id, items[ID]) ||
        !copy(made->prev_hash, sizeof made->prev_hash, items[PREV_HASH]) ||
        !copy(made->ntime, sizeof made->ntime, items[NTIME])) {
        free(made);
        return NULL;
    }
    return made;
}

/* A notify of the tip before, met after the new one (connections differ by a few milliseconds), is no news. */
static uint64_t tip_of(job_table *table, const job *j)
{
    if (strcmp(j->prev_hash, table->prev_hash) == 0)
        return table->tips;
    if (table->tips > 1 && strcmp(j->prev_hash, table->older) == 0)
        return table->tips - 1;
    memcpy(table->older, table->prev_hash, sizeof table->older);
    memcpy(table->prev_hash, j->prev_hash, sizeof table->prev_hash);
    return ++table->tips;
}

job *job_of(job_table *table, bool *fresh, slice line, slice params)
{
    uint64_t hash = hash_of(line);
    job **place = &table->known[hash % KNOWN_JOBS], *found = *place;

    *fresh = false;
    if (!found || found->hash != hash || found->length != line.length ||
        memcmp(found->line, line.at, line.length) != 0) {
        found = read_job(line, params);
        if (!found)
            return NULL;
        *fresh = true;
        found->hash = hash;
        found->number = ++table->jobs;
        found->tip = tip_of(table, found);
        found->users = 1;
        job_release(*place);
        *place = found;
    }
    found->users++;
    return found;
}

void job_release(job *j)
{
    if (j && --j->users == 0)
        free(j);
}
