/* seen.c: a set of header hashes, so that none is credited twice.
 *
 * Open addressing: a hash lies in its own slot, or in the first free one after it. Its own slot is the most
 * significant bits of its first word times a secret odd number. So a table of twice the size has all hashes in
 * nearly the same order, and moving there reads and writes memory from one end to the other.
 */
#include <string.h>

#include "internal.h"

typedef struct {
    uint64_t word[2];
} seen_key;

static seen_key key_of(const uint8_t hash[32])
{
    seen_key key;

    memcpy(key.word, hash, sizeof key.word);
    key.word[1] |= (key.word[0] | key.word[1]) == 0; /* all zero is a free slot */
    return key;
}

/* Number of the slot that holds the key, or of the free one where it belongs. There is always a free slot. */
static uint64_t place_of(const uint64_t *slots, uint32_t bits, uint64_t seed, seen_key key)
{
    const uint64_t last = (UINT64_C(1) << bits) - 1;
    uint64_t place = key.word[0] * seed >> (64 - bits);

    for (;; place = (place + 1) & last) {
        const uint64_t *slot = slots + 2 * place;
        if ((slot[0] == key.word[0] && slot[1] == key.word[1]) || (slot[0] | slot[1]) == 0)
            return place;
    }
}

static int is_free(const uint64_t *slots, uint64_t place) { return (slots[2 * place] | slots[2 * place + 1]) == 0; }

static void put(uint64_t *slots, uint64_t place, seen_key key) { memcpy(slots + 2 * place, key.word, sizeof key.word); }

/* What is moved stays in the old slots too: it is found there as in a table that nothing was taken from. */
static int is_old(const hm_seen *seen, seen_key key)
{
    return seen->old_slots &&
           !is_free(seen->old_slots, place_of(seen->old_slots, seen->old_bits, seen->seed, key));
}

static void move_some(hm_seen *seen)
{
    for (int i = 0; seen->old_slots && i < HM_MOVED_SLOTS; i++) {
        const uint64_t *slot = seen->old_slots + 2 * seen->moved++;
        seen_key key = {{slot[0], slot[1]}};
        if ((slot[0] | slot[1]) != 0)
            put(seen->slots, place_of(seen->slots, seen->bits, seen->seed, key), key);
        if (seen->moved >> seen->old_bits)
            seen->old_slots = NULL;
    }
}

int hm_seen_move(hm_seen *seen, uint64_t *slots, uint32_t bits, uint64_t room)
{
    if (bits < 1 || bits > 40 || room < seen->count || room >> bits || seen->old_slots)
        return HM_INVALID;
    seen->old_slots = seen->slots;
    seen->old_bits = seen->bits;
    seen->moved = 0;
    seen->slots = slots;
    seen->bits = bits;
    seen->room = room;
    return HM_OK;
}

int hm_seen_has(const hm_seen *seen, const uint8_t hash[32])
{
    const seen_key key = key_of(hash);

    return seen->count > 0 &&
           (!is_free(seen->slots, place_of(seen->slots, seen->bits, seen->seed, key)) || is_old(seen, key));
}

int hm_seen_add(hm_seen *seen, const uint8_t hash[32])
{
    const seen_key key = key_of(hash);
    uint64_t place;

    if (!seen->slots)
        return HM_FULL;
    place = place_of(seen->slots, seen->bits, seen->seed, key);
    if (!is_free(seen->slots, place) || is_old(seen, key))
        return 0;
    if (seen->count >= seen->room)
        return HM_FULL;
    put(seen->slots, place, key);
    seen->count++;
    move_some(seen);
    return 1;
}

uint64_t hm_seen_add_records(hm_seen *seen, const uint8_t *records, uint64_t count, uint32_t tip)
{
    for (uint64_t i = 0; i < count; i++, records += HM_RECORD)
        if (hm_load_le(records + 4) == tip && hm_seen_add(seen, records + 32) == HM_FULL)
            return i;
    return count;
}
