/* Shares of walks, each walked by whoever comes first, a block of steps at a time.
 *
 * A share is some sequences of a walk.  It belongs to no thread: one that finds it idle walks its next block of steps.
 * So a helper that is late, or that loses its processor, delays nothing but the block that it is in. */
#include "schedule.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "pool.h"
#include "split.h"

#define LEAST_WORK (1 << 24) /* multiplications from which on waking a helper is worth it */
#define FEWEST_ROWS 4        /* of a share: fewer would load the weights too often; of a sparse W_aa, those of a vector */
#define MOST_SHARES 256

typedef struct {
    const walk *walk;
    idx first, end, block, next; /* its sequences, the steps of a block, the next step */
    atomic_int is_taken, is_done;
} share;

typedef struct {
    const kernel *kernel;
    int is_double, count;
    size_t scratch;
    atomic_int is_out_of_memory;
    share shares[MOST_SHARES];
} job;

static void walk_block(const job *j, share *s, void *scratch) {
    const idx left = s->walk->seq_len - s->next, steps = left < s->block ? left : s->block;
    j->kernel->walk_steps[j->is_double](s->walk, s->first, s->end, s->next, s->next + steps, scratch);
    s->next += steps;
    if (s->next == s->walk->seq_len)
        atomic_store(&s->is_done, 1);
}

/* Walk blocks of any share that is idle, one's own first; a helper leaves when there is none. */
static void work(void *object, int who) {
    job *j = object;
    void *scratch = malloc(j->scratch);
    if (scratch == NULL) {
        if (who == 0)
            atomic_store(&j->is_out_of_memory, 1);
        return;
    }
    for (long turn = 0;;) {
        int found = 0, left = 0;
        for (int n = 0; n < j->count && !found; n++) {
            share *s = &j->shares[(who + n) % j->count];
            if (atomic_load(&s->is_done))
                continue;
            left = 1;
            if (atomic_exchange(&s->is_taken, 1))
                continue;
            found = 1;
            if (!atomic_load(&s->is_done))
                walk_block(j, s, scratch);
            atomic_store(&s->is_taken, 0);
        }
        if (!left || (!found && who > 0))
            break;
        turn = found ? 0 : turn + 1;
        if (!found)
            pool_pause(turn);
    }
    free(scratch);
}

static int64_t length(const walk *w, idx place) {
    return w->lengths ? w->lengths[place] : w->seq_len;
}

/* Cut the sequences, the longest being first, where a part of the steps of all is done. */
static void add_shares(job *j, const walk *w, idx parts) {
    int64_t all = 0, before = 0;
    for (idx place = 0; place < w->batch; place++)
        all += length(w, place);
    for (idx part = 1, first = 0, end = 0; part <= parts; part++, first = end) {
        while (end < w->batch && (part == parts || before + length(w, end) / 2 < all / parts * part))
            before += length(w, end++);
        if (first == end)
            continue;
        share *s = &j->shares[j->count++];
        *s = (share){.walk = w, .first = first, .end = end, .block = j->kernel->steps_at_once(w, end - first)};
    }
}

int run_walks(const kernel *k, int is_double, const walk *walks, int count, int threads) {
    double products = 0;
    for (int n = 0; n < count; n++) {
        const cell *c = walks[n].cell;
        const idx projected = walks[n].id_size ? 0 : c->input_size;
        const double step = (double)walks[n].batch * (double)c->hidden_size * (double)projected;
        products += (double)walks[n].seq_len * (step + recurrent_work(c, walks[n].batch, k->lanes[is_double]));
    }
    const idx each = products < LEAST_WORK ? 1 : (threads + count - 1) / count;
    if (each > 1 && count == 1 && can_split(walks, k->lanes[is_double]))
        return run_split(k, is_double, walks);
    job j;
    j.kernel = k;
    j.is_double = is_double;
    j.count = 0;
    j.scratch = 0;
    atomic_init(&j.is_out_of_memory, 0);
    for (int n = 0; n < count; n++) {
        const idx fewest = walks[n].cell->sparse_hh ? k->lanes[is_double] : FEWEST_ROWS;
        const idx fit = MOST_SHARES / count, rows = walks[n].batch / fewest;
        const idx most = rows < 1 ? 1 : rows < fit ? rows : fit;
        const size_t scratch = k->scratch(&walks[n], is_double);
        j.scratch = scratch > j.scratch ? scratch : j.scratch;
        add_shares(&j, &walks[n], each < most ? each : most);
    }
    pool_run(products < LEAST_WORK ? 0 : (threads < j.count ? threads : j.count) - 1, work, &j);
    return atomic_load(&j.is_out_of_memory) ? -1 : 0;
}
