/* Rows of a sparse matrix for vectors of sums; see sparse.h, and entries.h for how they are multiplied.
 *
 * A window of rows is taken apart into sums, a long row into several, so that one long row makes no vector of them long.
 * The sums are sorted by their number of entries, and those of a vector filled up with zeros to its longest: at a column
 * after the last one, whose number is to be 0, or an infinite one of theirs would make a NaN. */
#include "sparse.h"

#include <stdlib.h>
#include <string.h>

#define FEW 16 /* entries: no row of so few is taken apart */

typedef struct {
    idx row, part, entry, count; /* of the window; of the row; the first entry and their number */
} sum;

/* What windows have: of the vectors, their entries, and the sums that are added to others, or filled up. */
typedef struct {
    idx slices, entries, joins, filled;
} extent;

static int longer_first(const void *a, const void *b) {
    const sum *left = a, *right = b;
    return left->count != right->count ? (left->count < right->count) - (left->count > right->count)
           : left->part != right->part ? (left->part > right->part) - (left->part < right->part)
                                       : (left->row > right->row) - (left->row < right->row);
}

/* Take the rows of a window apart; return the number of their sums, MOST_SUMS at most.
 *
 * A row has more than one only where it has over twice the entries of the mean row: there are half as many more sums
 * than rows at most. */
static idx take_apart(const int64_t *starts, idx rows, sum *sums) {
    const idx mean = (starts[rows] - starts[0] + rows - 1) / rows, most = 2 * mean < FEW ? FEW : 2 * mean;
    idx found = 0;
    for (idx row = 0; row < rows; row++) {
        const idx count = starts[row + 1] - starts[row], parts = (count + most - 1) / most;
        for (idx part = 0; part < parts; part++) {
            const idx from = count * part / parts, to = count * (part + 1) / parts;
            sums[found++] = (sum){row, part, starts[row] + from, to - from};
        }
    }
    qsort(sums, (size_t)found, sizeof *sums, longer_first);
    return found;
}

/* Add what a window has. */
static extent with(extent before, const sum *sums, idx found, int lanes) {
    for (idx n = 0; n < found; n++) {
        const idx longest = sums[n - n % lanes].count;
        if (n % lanes == 0) {
            before.slices++;
            before.entries += longest * lanes;
        }
        before.joins += sums[n].part > 0;
        before.filled += sums[n].count < longest;
    }
    return before;
}

typedef struct {
    const char *values;
    const int64_t *columns;
    idx size;
    int lanes;
    size_t itemsize;
} source;

/* The memory of an arrangement that is filled in. */
typedef struct {
    char *values;
    int32_t *columns, *counts, *joins, *places;
} target;

/* Write a vector of sums: the entries of each in a lane, and zeros after them. */
static void write_slice(const source *from, const sum *sums, idx found, char *values, int32_t *columns) {
    for (int lane = 0; lane < from->lanes; lane++) {
        const sum *s = lane < found ? &sums[lane] : NULL;
        for (idx n = 0; n < sums[0].count; n++) {
            const idx to = n * from->lanes + lane;
            columns[to] = s ? (int32_t)from->size : 0; /* a lane without a sum is not looked at */
            if (s == NULL || n >= s->count)
                continue;
            columns[to] = (int32_t)from->columns[s->entry + n];
            memcpy(values + (size_t)to * from->itemsize, from->values + (size_t)(s->entry + n) * from->itemsize,
                   from->itemsize);
        }
    }
}

/* Write a window; where a row has no entries, its place is that of a zero after all sums. */
static void write_window(const source *from, const target *to, extent at, const sum *sums, idx found, idx rows) {
    const idx slices = (found + from->lanes - 1) / from->lanes;
    int32_t *joins = to->joins + 2 * at.joins;
    for (idx row = 0; row < rows; row++)
        to->places[row] = (int32_t)(slices * from->lanes);
    for (idx n = 0; n < found; n++)
        if (sums[n].part == 0)
            to->places[sums[n].row] = (int32_t)n;
    for (idx n = 0; n < found; n++)
        if (sums[n].part > 0) {
            *joins++ = to->places[sums[n].row];
            *joins++ = (int32_t)n;
        }
    for (idx slice = 0; slice < slices; slice++) {
        const idx n = slice * from->lanes;
        to->counts[at.slices + slice] = (int32_t)sums[n].count;
        write_slice(from, sums + n, found - n, to->values + (size_t)at.entries * from->itemsize, to->columns + at.entries);
        at.entries += sums[n].count * from->lanes;
    }
}

sparse *arrange(const void *values, const int64_t *columns, const int64_t *starts, idx size, int lanes, int is_double) {
    const source from = {values, columns, size, lanes, itemsize(is_double)};
    const idx count = (size + WINDOW - 1) / WINDOW;
    sum *sums = malloc(MOST_SUMS * sizeof *sums);
    extent all = {0, 0, 0, 0};
    for (idx n = 0; sums && n < count; n++) {
        const idx row = n * WINDOW, rows = size - row < WINDOW ? size - row : WINDOW;
        all = with(all, sums, take_apart(starts + row, rows, sums), lanes);
    }
    const size_t parts[] = {sizeof(sparse), (size_t)(count + 1) * sizeof(window), (size_t)all.entries * from.itemsize,
                            (size_t)all.entries * sizeof(int32_t), (size_t)all.slices * sizeof(int32_t),
                            (size_t)all.joins * 2 * sizeof(int32_t), (size_t)(size + lanes) * sizeof(int32_t)};
    size_t places[8] = {0};
    for (int part = 0; part < 7; part++)
        places[part + 1] = (places[part] + parts[part] + 63) / 64 * 64;
    char *memory = sums ? calloc(places[7] + 64, 1) : NULL;
    if (memory == NULL) {
        free(sums);
        return NULL;
    }
    char *aligned = (char *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    sparse *made = (sparse *)memory;
    window *windows = (window *)(aligned + places[1]);
    target to = {aligned + places[2], (int32_t *)(aligned + places[3]), (int32_t *)(aligned + places[4]),
                 (int32_t *)(aligned + places[5]), (int32_t *)(aligned + places[6])};
    *made = (sparse){starts[size], windows, to.values, to.columns, to.counts, to.joins, to.places, 0,
                     all.filled > 0};
    extent at = {0, 0, 0, 0};
    for (idx n = 0; n < count; n++) {
        const idx row = n * WINDOW, rows = size - row < WINDOW ? size - row : WINDOW;
        const idx found = take_apart(starts + row, rows, sums);
        windows[n] = (window){at.slices, at.entries, at.joins};
        write_window(&from, &to, at, sums, found, rows);
        at = with(at, sums, found, lanes);
        to.places += WINDOW;
    }
    windows[count] = (window){at.slices, at.entries, at.joins};
    free(sums);
    return made;
}
