/* The walk of a cell through some steps of some sequences, for the type T; see kernel.h. */

#ifndef LOAD_PART /* of instruction sets without masks */
#define LOAD_PART(from, count) NAME(load_few)(from, count)
#define STORE_PART(to, value, count) NAME(store_few)(to, value, count)
#endif

INLINE V NAME(load_few)(const T *from, idx count) {
    T numbers[W] = {0};
    for (idx i = 0; i < count && i < W; i++)
        numbers[i] = from[i];
    return LOAD(numbers);
}

INLINE void NAME(store_few)(T *to, V value, idx count) {
    T numbers[W];
    STORE(numbers, value);
    for (idx i = 0; i < count && i < W; i++)
        to[i] = numbers[i];
}

INLINE V NAME(load_part)(const T *from, idx count) {
    return count >= W ? LOAD(from) : LOAD_PART(from, count);
}

INLINE void NAME(store_part)(T *to, V value, idx count) {
    if (count >= W)
        STORE(to, value);
    else if (count > 0)
        STORE_PART(to, value, count);
}

#include "exponentials.h"
#include "activations.h"
#include "product.h"
#include "entries.h"

enum { NAME(lanes) = W };

#ifndef PROJECTED
#define PROJECTED 126 /* rows are enough for the weights to be loaded seldom, and few enough to stay in a cache */

/* A step with a sparse W_aa reads little but z: as many are projected as make W_ax no more to load than what they write. */
static idx steps_at_once(const walk *w, idx rows) {
    const idx columns = w->id_size ? 1 : w->cell->input_size, fewest = columns < MOST_ROWS ? MOST_ROWS : columns;
    const idx together = w->cell->sparse_hh && fewest < PROJECTED ? fewest : PROJECTED;
    return rows < together ? together / rows : 1;
}

static idx time_of(const walk *w, idx step) {
    return w->reverse ? w->seq_len - 1 - step : step;
}

static idx sequence(const walk *w, idx place) {
    return w->order ? (idx)w->order[place] : place;
}

/* The end of the sequences that have a step t, the longest being first. */
static idx end_at(const walk *w, idx first, idx end, idx t) {
    if (w->lengths)
        while (end > first && w->lengths[end - 1] <= t)
            end--;
    return end;
}
#endif

static T *NAME(output)(const walk *w, idx t, idx place) {
    return (T *)w->output + t * w->output_step + sequence(w, place) * w->output_row;
}

static const T *NAME(before)(const walk *w, idx t, idx place) {
    const idx start = !w->reverse ? 0 : w->lengths ? (idx)w->lengths[place] - 1 : w->seq_len - 1;
    if (t == start)
        return (const T *)w->h_0 + sequence(w, place) * w->h_0_row;
    return NAME(output)(w, w->reverse ? t + 1 : t - 1, place);
}

/* Write b_a and the column of W_ax for a token id, in the columns of the panels first .. end. */
static void NAME(gather)(const walk *w, idx first, idx end, idx t, idx place, T *z) {
    const cell *c = w->cell;
    const char *at = w->x + (t * w->x_step + sequence(w, place) * w->x_row) * w->id_size;
    idx id = w->id_size == 4 ? (idx)*(const int32_t *)at : (idx)*(const int64_t *)at;
    id = id < 0 ? 0 : id < c->input_size ? id : c->input_size - 1; /* checked by the caller; no memory is at risk */
    const T *bias = c->bias;
    for (idx p = first; p < end; p++) {
        const idx column = p * PANEL, left = c->hidden_size - column, width = left < PANEL ? left : PANEL;
        const T *row = (const T *)c->weight_ih + column * c->input_size + id * (width > W ? PANEL : W);
        for (idx i = 0; i < width; i++)
            z[column + i] = bias[column + i] + row[i];
    }
}

/* Write W_ax x<t> + b_a of some rows, in the columns of the panels first .. end. */
static void NAME(project_rows)(const cell *c, const T *const *x, T *const *z, idx count, idx first, idx end, T *scratch) {
    if (count)
        NAME(product)(x, z, count, c->weight_ih, c->hidden_size, c->input_size, first, end, c->bias, 0, NULL, NULL,
                      scratch);
}

static void NAME(project)(const walk *w, idx first, idx end, idx from, idx to, T *scratch) {
    const cell *c = w->cell;
    const idx panels = NAME(panels)(c->hidden_size);
    const T *x[ROWS];
    T *z[ROWS];
    idx count = 0, all = 0;
    for (idx step = from; step < to; step++)
        all += end_at(w, first, end, time_of(w, step)) - first;
    const idx parts = (all + ROWS - 1) / ROWS, most = parts ? (all + parts - 1) / parts : 0; /* rows together, evenly */
    for (idx step = from; step < to; step++) {
        const idx t = time_of(w, step), live = end_at(w, first, end, t);
        for (idx place = live; place < end; place++)
            memset(NAME(output)(w, t, place), 0, (size_t)c->hidden_size * sizeof(T));
        for (idx place = first; place < live; place++) {
            if (w->id_size) {
                NAME(gather)(w, 0, panels, t, place, NAME(output)(w, t, place));
                continue;
            }
            x[count] = (const T *)w->x + t * w->x_step + sequence(w, place) * w->x_row;
            z[count++] = NAME(output)(w, t, place);
            if (count == most) {
                NAME(project_rows)(c, x, z, count, 0, panels, scratch);
                count = 0;
            }
        }
    }
    NAME(project_rows)(c, x, z, count, 0, panels, scratch);
}

/* z[n] += W_aa h[n], in the columns of the panels first .. end; of a sparse W_aa, those are windows. */
static void NAME(multiply)(const cell *c, const T *const *h, T *const *z, idx count, idx first, idx end, int backward,
                           const NAME(ending) *finish, T *scratch) {
    const idx size = c->hidden_size, each = WINDOW / PANEL;
    if (c->sparse_hh)
        NAME(sparse_product)(h, z, count, c->sparse_hh, size, first / each, (end + each - 1) / each, backward, finish,
                             scratch);
    else
        NAME(product)(h, z, count, c->weight_hh, size, size, first, end, NULL, backward, finish, h, scratch);
}

static void NAME(recur)(const walk *w, idx first, idx end, idx step, const NAME(ending) *finish, T *scratch) {
    const cell *c = w->cell;
    const T *h[ROWS];
    T *z[ROWS];
    const idx t = time_of(w, step), live = end_at(w, first, end, t), all = live - first, parts = (all + ROWS - 1) / ROWS;
    for (idx part = 0, place = first; part < parts; part++) {
        const idx stop = parts == 1 ? live : first + all * (part + 1) / parts;
        idx count = 0;
        for (; place < stop; place++) {
            h[count] = NAME(before)(w, t, place);
            z[count++] = NAME(output)(w, t, place);
        }
        if (count)
            NAME(multiply)(c, h, z, count, 0, NAME(panels)(c->hidden_size), step & 1, finish, scratch);
    }
}

/* The steps of a single sequence. */
static void NAME(recur_alone)(const walk *w, idx place, idx from, idx to, const NAME(ending) *finish, T *scratch) {
    const cell *c = w->cell;
    const T *h = NAME(before)(w, time_of(w, from), place);
    T *z = NAME(output)(w, time_of(w, from), place);
    for (idx step = from; step < to; step++) {
        if (c->sparse_hh)
            NAME(multiply)(c, &h, &z, 1, 0, NAME(panels)(c->hidden_size), step & 1, finish, scratch);
        else
            NAME(row_product)(h, z, c->weight_hh, c->hidden_size, step & 1, finish);
        h = z;
        z += w->reverse ? -w->output_step : w->output_step;
    }
}

static void NAME(keep_last)(const walk *w, idx first, idx end) {
    const idx size = w->cell->hidden_size;
    for (idx place = first; place < end; place++) {
        const idx length = w->lengths ? (idx)w->lengths[place] : w->seq_len, b = sequence(w, place);
        const T *from = length == 0 ? (const T *)w->h_0 + b * w->h_0_row
                                    : NAME(output)(w, w->reverse ? 0 : length - 1, place);
        memcpy((T *)w->last + b * size, from, (size_t)size * sizeof(T));
    }
}

static NAME(ending) NAME(ending_of)(const cell *c) {
    const NAME(ending) ending = {
        NAME(activations)[c->activation], (T)c->alpha, (T)c->beta, (T)c->clip, (T)c->leak, c->leaks,
        c->clip == INFINITY && c->leak == 1 && !c->leaks,
    };
    return ending;
}

static void NAME(walk_steps)(const walk *w, idx first, idx end, idx from, idx to, void *scratch) {
    const NAME(ending) finish = NAME(ending_of)(w->cell);
    NAME(project)(w, first, end, from, to, scratch);
    if (end - first == 1 && !w->lengths && from < to)
        NAME(recur_alone)(w, first, from, to, &finish, scratch);
    else
        for (idx step = from; step < to; step++)
            NAME(recur)(w, first, end, step, &finish, scratch);
    if (to == w->seq_len)
        NAME(keep_last)(w, first, end);
}

/* W_ax x<t> + b_a of some steps, ROWS at most, as rows of hidden_size in z; of the panels first .. end (split.c). */
static void NAME(project_panels)(const walk *w, idx first, idx end, idx from, idx to, void *to_z, void *scratch) {
    const T *x[ROWS];
    T *z[ROWS];
    idx count = 0;
    for (idx step = from; step < to; step++)
        for (idx b = 0; b < w->batch; b++) {
            z[count] = (T *)to_z + count * w->cell->hidden_size;
            if (w->id_size)
                NAME(gather)(w, first, end, time_of(w, step), b, z[count++]);
            else
                x[count++] = (const T *)w->x + time_of(w, step) * w->x_step + b * w->x_row;
        }
    if (!w->id_size)
        NAME(project_rows)(w->cell, x, z, count, first, end, scratch);
}

/* A step of the panels first .. end, in the rows of z. */
static void NAME(step_panels)(const walk *w, idx first, idx end, idx step, void *in_z, void *scratch) {
    const NAME(ending) finish = NAME(ending_of)(w->cell);
    const idx size = w->cell->hidden_size;
    const T *h[ROWS];
    T *z[ROWS];
    for (idx b = 0; b < w->batch; b++) {
        h[b] = NAME(before)(w, time_of(w, step), b);
        z[b] = (T *)in_z + b * size;
    }
    NAME(multiply)(w->cell, h, z, w->batch, first, end, step & 1, &finish, scratch);
}

/* Write a step of which the panels up to `middle` are in one place and the others in another. */
static void NAME(join_panels)(const walk *w, idx step, idx middle, const void *left, const void *right) {
    const size_t size = (size_t)w->cell->hidden_size, width = (size_t)(middle * PANEL);
    for (idx b = 0; b < w->batch; b++) {
        T *to = NAME(output)(w, time_of(w, step), b);
        memcpy(to, (const T *)left + (size_t)b * size, width * sizeof(T));
        memcpy(to + width, (const T *)right + (size_t)b * size + width, (size - width) * sizeof(T));
    }
    if (step == w->seq_len - 1)
        NAME(keep_last)(w, 0, w->batch);
}

static void NAME(pack)(const void *weight, idx size, idx columns, void *panels) {
    const T *from = weight;
    T *to = panels;
    for (idx column = 0; column < size; column += PANEL) {
        const idx width = size - column > W ? PANEL : W;
        for (idx k = 0; k < columns; k++)
            for (idx i = 0; i < width; i++)
                *to++ = column + i < size ? from[(column + i) * columns + k] : 0;
    }
}

static idx NAME(packed_size)(idx size, idx columns) {
    return (size + W - 1) / W * W * columns;
}

/* The bytes of scratch for the products of a walk. */
static size_t NAME(scratch)(const walk *w) {
    const idx rows = w->seq_len * w->batch < ROWS ? w->seq_len * w->batch : ROWS;
    const size_t copies = rows < COPIED_ROWS ? 64 : (size_t)rows * (STRETCH * sizeof(T) + 64);
    const size_t abreast = w->cell->sparse_hh ? NAME(sparse_scratch)(w->batch, w->cell->hidden_size) : 0;
    return copies < abreast ? abreast : copies;
}
