/* The caller computes the left half of the columns of each step, and a helper the right one, if it is there in time.
 *
 * Each works in memory of its own; the caller alone writes the output.  So it may compute the right half too, with the
 * same bits: where the helper has not begun a step when the left half is done, or takes far longer, the caller goes on
 * alone.  A helper that loses its processor in a step is waited for at the end alone. */
#include "split.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define MOST_ROWS 7              /* more are shared out by rows; of a sparse W_aa, more than a vector has */
#define LEAST_WEIGHTS (1 << 17)  /* multiplying with so many takes far longer than a hand-over, some 0.5 us */
#define LEAST_ENTRIES (1 << 16)  /* of a sparse W_aa, which reads all of a state that others wrote, and little else */
#define SLACK 2000               /* ns beyond twice the time of one's own half */

typedef struct {
    idx first, end; /* panels */
    idx block;      /* the block of steps whose W_ax x<t> + b_a is in z */
    char *z;
    void *scratch;
} half;

typedef struct {
    const kernel *kernel;
    int is_double;
    const walk *walk;
    idx steps; /* of a block */
    half left, right, helped;
    _Alignas(128) _Atomic(idx) published; /* the step whose state before is known; seq_len at the end */
    _Alignas(128) _Atomic(idx) begun, done; /* by the helper: the step that it is in, the steps up to which it is done */
} job;

int can_split(const walk *w, int lanes) {
    const cell *c = w->cell;
    const idx most = c->sparse_hh && lanes > MOST_ROWS ? lanes : MOST_ROWS;
    const int is_one = c->sparse_hh && c->hidden_size <= WINDOW;
    const int is_long = c->sparse_hh ? c->sparse_hh->entries >= LEAST_ENTRIES
                                     : (double)c->hidden_size * (double)c->hidden_size >= LEAST_WEIGHTS;
    return w->batch <= most && !w->lengths && !is_one && is_long;
}

/* The panel that the right half begins with; of a sparse W_aa it begins with a window, and has half of the entries. */
static idx middle_of(const kernel *k, int is_double, const cell *c) {
    if (!c->sparse_hh)
        return (k->panels[is_double](c->hidden_size) + 1) / 2;
    const window *windows = c->sparse_hh->windows;
    const idx count = (c->hidden_size + WINDOW - 1) / WINDOW, all = windows[count].entry;
    idx cut = 1;
    while (cut + 1 < count && windows[cut].entry + windows[cut + 1].entry < all)
        cut++;
    return cut * (WINDOW / 2 / k->lanes[is_double]);
}

/* Compute a half of a step; return it as rows of hidden_size numbers. */
static char *computed(const job *j, half *h, idx step) {
    const walk *w = j->walk;
    const idx block = step / j->steps, from = block * j->steps, left = w->seq_len - from;
    const idx row = w->batch * w->cell->hidden_size * (idx)itemsize(j->is_double);
    if (h->block != block) {
        j->kernel->project_panels[j->is_double](w, h->first, h->end, from, from + (left < j->steps ? left : j->steps), h->z,
                                                h->scratch);
        h->block = block;
    }
    char *z = h->z + (step - from) * row;
    j->kernel->step_panels[j->is_double](w, h->first, h->end, step, z, h->scratch);
    return z;
}

/* Return where the helper's half of a step is, or NULL if it is not to be waited for. */
static const char *helped(job *j, idx step, long long patience) {
    const idx row = j->walk->batch * j->walk->cell->hidden_size * (idx)itemsize(j->is_double);
    const long long until = pool_now() + patience;
    for (long turn = 0; atomic_load_explicit(&j->done, memory_order_acquire) <= step; turn++) {
        if (atomic_load_explicit(&j->begun, memory_order_relaxed) < step || (turn % 16 == 15 && pool_now() > until))
            return NULL;
        pool_pause(turn);
    }
    return j->helped.z + step % j->steps * row;
}

static void lead(job *j) {
    const walk *w = j->walk;
    for (idx step = 0; step < w->seq_len; step++) {
        atomic_store_explicit(&j->published, step, memory_order_release);
        const long long start = pool_now();
        const char *left = computed(j, &j->left, step);
        const long long taken = pool_now() - start;
        const char *right = helped(j, step, taken + SLACK);
        if (right == NULL)
            right = computed(j, &j->right, step);
        j->kernel->join_panels[j->is_double](w, step, j->left.end, left, right);
    }
    atomic_store_explicit(&j->published, w->seq_len, memory_order_release);
}

static void follow(job *j) {
    for (idx next = 0;;) {
        idx step;
        for (long turn = 0; (step = atomic_load_explicit(&j->published, memory_order_acquire)) < next; turn++)
            pool_pause(turn);
        if (step >= j->walk->seq_len)
            return;
        atomic_store_explicit(&j->begun, step, memory_order_relaxed);
        computed(j, &j->helped, step);
        next = step + 1;
        atomic_store_explicit(&j->done, next, memory_order_release);
    }
}

static void work(void *object, int who) {
    if (who == 0)
        lead(object);
    else
        follow(object);
}

int run_split(const kernel *k, int is_double, const walk *w) {
    const idx steps = k->steps_at_once(w, w->batch), panels = k->panels[is_double](w->cell->hidden_size);
    const size_t rows = (size_t)(steps * w->batch * w->cell->hidden_size) * itemsize(is_double);
    const size_t scratch = k->scratch(w, is_double), each = (rows + scratch + 127) / 128 * 128;
    char *memory = malloc(3 * each + 128);
    if (memory == NULL)
        return -1;
    char *aligned = (char *)(((uintptr_t)memory + 127) & ~(uintptr_t)127);
    job j = {.kernel = k, .is_double = is_double, .walk = w, .steps = steps};
    half *halves[] = {&j.left, &j.right, &j.helped};
    const idx middle = middle_of(k, is_double, w->cell);
    for (int n = 0; n < 3; n++) {
        char *part = aligned + (size_t)n * each;
        *halves[n] = (half){n ? middle : 0, n ? panels : middle, -1, part + scratch, part};
    }
    atomic_init(&j.published, -1);
    atomic_init(&j.begun, -1);
    atomic_init(&j.done, 0);
    pool_run(1, work, &j);
    free(memory);
    return 0;
}
