/* Problems arranged as the kernels take them, each array in memory of exactly its size. */
#include "cases.h"
#include "kernel.h"
#include "sparse.h"

#define GAP 3 /* numbers between rows, where a layout has some */
#define MOST_HELD 16

#define NAME_OF(name) #name,
static const char *const ACTIVATIONS[] = {ACTIVATION_NAMES(NAME_OF)};
#define ACTIVATION_COUNT ((int)(sizeof ACTIVATIONS / sizeof *ACTIVATIONS))

/* A layer as the kernels take it, and all memory that it takes. */
typedef struct {
    walk walks[2];
    cell cells[2];
    void *held[MOST_HELD];
    int held_count;
    char *output;
    size_t output_size;
    idx width; /* of a row of the output, with its gap */
} layer;

static int number_of(const char *activation) {
    for (int n = 0; n < ACTIVATION_COUNT; n++)
        if (!strcmp(ACTIVATIONS[n], activation))
            return n;
    fail("no activation has this name");
    return -1;
}

static void *hold(layer *l, void *memory) {
    return l->held[l->held_count++] = memory;
}

static const void *packed(layer *l, const kernel *k, const void *weight, idx size, idx columns, int is_double) {
    void *panels;
    if (posix_memalign(&panels, 64, (size_t)k->packed_size[is_double](size, columns) * (is_double ? 8 : 4)))
        fail("there is not enough memory");
    k->pack[is_double](weight, size, columns, panels);
    return hold(l, panels);
}

/* Return a sparse W_aa as a kernel takes it, NULL where it is dense. */
static const sparse *arranged(layer *l, const kernel *k, const direction *d, int is_double, int gathers) {
    if (d->starts == NULL)
        return NULL;
    sparse *made = arrange(d->weight_hh, d->columns, d->starts, d->hidden_size, k->lanes[is_double], is_double);
    void *scratch = calloc((size_t)(d->hidden_size + 1 + MOST_SUMS), is_double ? 8 : 4);
    if (made == NULL || scratch == NULL)
        fail("there is not enough memory");
    k->gathers[is_double](made, d->hidden_size, scratch); /* whatever is found, both ways are walked */
    free(scratch);
    made->gathers = gathers;
    return hold(l, made);
}

/* Copy x to where a layout has its rows, the last of which ends the memory. */
static void *laid_out(const problem *p, const walk *w, size_t row, size_t itemsize) {
    const idx last = (p->seq_len - 1) * w->x_step + (p->batch - 1) * w->x_row;
    char *to = exactly(p->seq_len > 0 && p->batch > 0 ? (size_t)last * itemsize + row : 0);
    for (idx t = 0; t < p->seq_len; t++)
        for (idx b = 0; b < p->batch; b++)
            memcpy(to + (size_t)(t * w->x_step + b * w->x_row) * itemsize,
                   (const char *)p->x + (size_t)(t * p->batch + b) * row, row);
    return to;
}

static void fill_direction(layer *l, int n, const problem *p, const kernel *k, int gathers) {
    const direction *d = &p->each[n];
    const int is_double = (int)p->is_double;
    const size_t row = (size_t)d->hidden_size * (is_double ? 8 : 4);
    void *zeros = hold(l, memset(exactly(row), 0, row));
    l->cells[n] = (cell){
        .input_size = p->input_size, .hidden_size = d->hidden_size,
        .weight_ih = packed(l, k, d->weight_ih, d->hidden_size, p->input_size, is_double),
        .weight_hh = d->starts ? NULL : packed(l, k, d->weight_hh, d->hidden_size, d->hidden_size, is_double),
        .sparse_hh = arranged(l, k, d, is_double, gathers),
        .bias = d->bias ? d->bias : zeros, .leaks = d->leaks, .zeros = zeros, .alpha = d->alpha, .beta = d->beta,
        .clip = d->clip, .leak = d->leak, .activation = number_of(d->activation),
    };
    walk *w = &l->walks[n];
    w->cell = &l->cells[n];
    w->h_0 = d->h_0 ? d->h_0 : zeros;
    w->h_0_row = d->h_0 ? d->hidden_size : 0;
    w->reverse = (int)d->reverse;
    w->last = hold(l, exactly(row * (size_t)p->batch));
}

/* Arrange a problem for a kernel: time first, or batch first, with gaps between the rows, and gathering. */
static void fill(layer *l, const problem *p, const kernel *k, int spaced) {
    const size_t itemsize = p->is_double ? 8 : 4, x_item = p->id_size ? (size_t)p->id_size : itemsize;
    const idx features = p->id_size ? 1 : p->input_size, x_width = features + (spaced ? GAP : 0);
    walk w = {.seq_len = p->seq_len, .batch = p->batch, .id_size = p->id_size, .order = p->order, .lengths = p->lengths};
    l->held_count = 0;
    l->width = spaced ? GAP : 0;
    for (int n = 0; n < p->directions; n++)
        l->width += p->each[n].hidden_size;
    w.x_step = x_width * (spaced ? 1 : p->batch);
    w.x_row = x_width * (spaced ? p->seq_len : 1);
    w.output_step = l->width * (spaced ? 1 : p->batch);
    w.output_row = l->width * (spaced ? p->seq_len : 1);
    w.x = hold(l, laid_out(p, &w, (size_t)features * x_item, x_item));
    l->output_size = (size_t)(p->seq_len * p->batch * l->width) * itemsize;
    w.output = l->output = hold(l, exactly(l->output_size));
    for (int n = 0; n < p->directions; n++) {
        l->walks[n] = w;
        fill_direction(l, n, p, k, spaced);
        w.output += (size_t)p->each[n].hidden_size * itemsize;
    }
}
