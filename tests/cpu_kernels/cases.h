/* The problems in a file that tests/support/kernel_cases.py writes, in the machine's own order of bytes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A cell, what it begins with, and its right results with the bounds of their errors; arrays may be absent, NULL. */
typedef struct {
    int64_t hidden_size, reverse;
    double alpha, beta, clip, leak;
    char *activation;
    void *weight_ih, *weight_hh, *bias, *leaks, *h_0;
    int64_t *columns, *starts; /* of the entries of a sparse W_aa, whose values are in weight_hh */
    double *output, *output_error, *last, *last_error;
} direction;

/* A layer of one direction or two, its input, and threads to walk it with besides a few. */
typedef struct {
    char *name;
    int64_t is_double, seq_len, batch, input_size, id_size, threads, directions;
    void *x;
    int64_t *order, *lengths;
    direction each[2];
} problem;

static void fail(const char *why) {
    fprintf(stderr, "driver: %s\n", why);
    exit(2);
}

static void *exactly(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL && size > 0)
        fail("there is not enough memory");
    return memory;
}

static void take(FILE *file, void *to, size_t size) {
    if (size && fread(to, size, 1, file) != 1)
        fail("the file of cases ends too early");
}

/* Read an array, which the number of its bytes precedes, into memory of exactly its size; -1 stands for none. */
static void *array(FILE *file) {
    int64_t size;
    take(file, &size, sizeof size);
    if (size < 0)
        return NULL;
    void *to = exactly((size_t)size);
    take(file, to, (size_t)size);
    return to;
}

static void read_direction(FILE *file, direction *d) {
    take(file, &d->hidden_size, 2 * sizeof(int64_t));
    take(file, &d->alpha, 4 * sizeof(double));
    void **arrays[] = {&d->weight_ih, &d->weight_hh, &d->bias, &d->leaks, &d->h_0};
    int64_t **entries[] = {&d->columns, &d->starts};
    double **results[] = {&d->output, &d->output_error, &d->last, &d->last_error};
    d->activation = array(file);
    for (int n = 0; n < 5; n++)
        *arrays[n] = array(file);
    for (int n = 0; n < 2; n++)
        *entries[n] = array(file);
    for (int n = 0; n < 4; n++)
        *results[n] = array(file);
}

/* Read the next problem; return 0 at the end of the file. */
static int read_problem(FILE *file, problem *p) {
    int64_t size;
    if (fread(&size, sizeof size, 1, file) != 1)
        return 0;
    p->name = exactly((size_t)size);
    take(file, p->name, (size_t)size);
    take(file, &p->is_double, 7 * sizeof(int64_t));
    if (p->directions < 1 || p->directions > 2)
        fail("the file is none of cases");
    p->x = array(file);
    p->order = array(file);
    p->lengths = array(file);
    for (int n = 0; n < p->directions; n++)
        read_direction(file, &p->each[n]);
    return 1;
}

static void free_problem(problem *p) {
    void *shared[] = {p->name, p->x, p->order, p->lengths};
    for (int n = 0; n < 4; n++)
        free(shared[n]);
    for (int n = 0; n < p->directions; n++) {
        const direction *d = &p->each[n];
        void *own[] = {d->weight_ih, d->weight_hh, d->bias, d->leaks, d->h_0, d->output, d->output_error, d->last,
                       d->last_error, d->activation, d->columns, d->starts};
        for (int k = 0; k < 12; k++)
            free(own[k]);
    }
}
