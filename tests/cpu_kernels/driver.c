/* Runs the kernels on the cases of a file without Python: for sanitizers, valgrind and emulated processors.
 *
 *     driver FILE CALLERS REPEATS [fork]
 *
 * So many threads call at once, each so often; then a forked process calls.  Each array lies in memory of exactly its
 * size.  The exit status is 0 where all results are within their bounds, 1 where one is not, 2 where nothing was tried. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "layers.h"
#include "pool.h"
#include "schedule.h"

#define CANARY 0x5A     /* each byte of them */
#define HELPERS 2
#define PATIENCE 60e9   /* ns that a helper may be late */

#define ENTRY(name) {#name, &kernel_##name},
static const struct {
    const char *name;
    const kernel *kernel;
} BUILT[] = {KERNELS(ENTRY)}; /* on the command line: -D'KERNELS(X)=X(avx2) X(plain)' */
#define BUILT_COUNT (sizeof BUILT / sizeof *BUILT)

typedef struct {
    const problem *problem;
    const char *kernel;
    int threads, spaced;
} attempt;

/* Return whether a number differs from the right one by more than the bound, and print it if so. */
static int is_wrong(const attempt *a, const char *what, idx at, const void *got, double wanted, double error) {
    const double number = a->problem->is_double ? *(const double *)got : (double)*(const float *)got;
    if (isnan(wanted) ? isnan(number) : number == wanted || fabs(number - wanted) <= error)
        return 0;
    printf("%s, kernel %s, %d threads%s: %s[%td] is %.17g, wanted %.17g within %.3g\n", a->problem->name, a->kernel,
           a->threads, a->spaced ? ", rows apart" : "", what, at, number, wanted, error);
    return 1;
}

static int is_damaged(const attempt *a, const layer *l) {
    const size_t itemsize = a->problem->is_double ? 8 : 4, row = (size_t)l->width * itemsize, gap = GAP * itemsize;
    for (size_t end = row; a->spaced && end <= l->output_size; end += row)
        for (size_t n = end - gap; n < end; n++)
            if (l->output[n] != CANARY) {
                printf("%s, kernel %s: memory after a row of the output was written\n", a->problem->name, a->kernel);
                return 1;
            }
    return 0;
}

static int differs(const attempt *a, const layer *l) {
    const problem *p = a->problem;
    const size_t itemsize = p->is_double ? 8 : 4;
    for (int n = 0; n < p->directions; n++) {
        const direction *d = &p->each[n];
        const walk *w = &l->walks[n];
        const idx size = d->hidden_size;
        for (idx i = 0; i < p->seq_len * p->batch * size; i++) {
            const idx t = i / size / p->batch, b = i / size % p->batch;
            const char *got = w->output + (size_t)(t * w->output_step + b * w->output_row + i % size) * itemsize;
            if (is_wrong(a, n ? "second output" : "output", i, got, d->output[i], d->output_error[i]))
                return 1;
        }
        for (idx i = 0; i < p->batch * size; i++)
            if (is_wrong(a, n ? "second last" : "last", i, w->last + (size_t)i * itemsize, d->last[i], d->last_error[i]))
                return 1;
    }
    return is_damaged(a, l);
}

/* Return whether a kernel is wrong with some number of threads, in some layout. */
static int fails(const problem *p, const char *name, const kernel *k) {
    const int counts[] = {1, 2, 3, (int)p->threads}, several = p->threads > 0 ? 4 : 3;
    int wrong = 0;
    for (int spaced = 0; spaced < 2 && !wrong; spaced++) {
        layer l;
        fill(&l, p, k, spaced);
        for (int n = 0; n < several && !wrong; n++) {
            memset(l.output, CANARY, l.output_size);
            if (run_walks(k, (int)p->is_double, l.walks, (int)p->directions, counts[n]) < 0)
                fail("there is not enough memory");
            wrong = differs(&(attempt){p, name, counts[n], spaced}, &l);
        }
        while (l.held_count > 0)
            free(l.held[--l.held_count]);
    }
    return wrong;
}

typedef struct {
    const char *path;
    int repeats, failures, tried;
} call;

static void *run_file(void *object) {
    call *c = object;
    FILE *file = fopen(c->path, "rb");
    if (file == NULL)
        fail("there is no file of cases there");
    for (problem p; read_problem(file, &p); free_problem(&p), c->tried++)
        for (int n = 0; n < c->repeats; n++)
            for (size_t k = 0; k < BUILT_COUNT; k++)
                c->failures += fails(&p, BUILT[k].name, BUILT[k].kernel);
    fclose(file);
    return NULL;
}

/* Wait until a helper comes; without one the threads would not be tested. */
static void meet(void *object, int who) {
    atomic_int *came = object;
    if (who > 0)
        atomic_fetch_add(came, 1);
    const long long until = pool_now() + (long long)PATIENCE;
    for (long turn = 0; who == 0 && atomic_load(came) < HELPERS; turn++) {
        if (pool_now() > until)
            fail("no helper came");
        pool_pause(turn);
    }
}

static int run_forked(call c) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        atomic_int came = 0;
        pool_run(HELPERS, meet, &came);
        c.failures = 0;
        run_file(&c);
        fflush(stdout);
        _exit(c.failures > 0);
    }
    int status = 1;
    return waitpid(child, &status, 0) != child || status != 0;
}

int main(int count, char **words) {
    if (count < 4)
        fail("FILE CALLERS REPEATS [fork] are wanted");
    const int callers = atoi(words[2]);
    call calls[8] = {{words[1], atoi(words[3]), 0, 0}};
    pthread_t threads[8];
    if (callers < 1 || callers > 8 || calls[0].repeats < 1)
        fail("1 to 8 callers and some repeats are wanted");
    for (size_t k = 0; k < BUILT_COUNT; k++)
        if (!BUILT[k].kernel->runs())
            fail("this processor lacks what a kernel needs");
    pool_prepare_fork();
    atomic_int came = 0;
    pool_run(HELPERS, meet, &came);
    for (int n = 1; n < callers; n++) {
        calls[n] = calls[0];
        if (pthread_create(&threads[n], NULL, run_file, &calls[n]))
            fail("no thread can be begun");
    }
    run_file(&calls[0]);
    for (int n = 1; n < callers; n++) {
        pthread_join(threads[n], NULL);
        calls[0].failures += calls[n].failures;
    }
    if (count > 4)
        calls[0].failures += run_forked(calls[0]);
    for (size_t k = 0; k < BUILT_COUNT; k++)
        printf("%s ", BUILT[k].name);
    printf("tried %d cases, %d failed\n", calls[0].tried, calls[0].failures);
    return calls[0].tried == 0 ? 2 : calls[0].failures > 0;
}
