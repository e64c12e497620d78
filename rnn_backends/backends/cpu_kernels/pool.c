/* Helper threads of POSIX or Windows; see pool.h. */
#define _POSIX_C_SOURCE 200809L
#include <stdatomic.h>

#include "pool.h"

#ifdef _WIN32
#include <windows.h>
typedef SRWLOCK mutex;
typedef CONDITION_VARIABLE condition;
#define MUTEX SRWLOCK_INIT
#define CONDITION CONDITION_VARIABLE_INIT
#define lock(m) AcquireSRWLockExclusive(m)
#define unlock(m) ReleaseSRWLockExclusive(m)
#define wait_for(c, m) SleepConditionVariableSRW(c, m, INFINITE, 0)
#define wake(c) WakeConditionVariable(c)
#define give_way() SwitchToThread()
#else
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;
#define MUTEX PTHREAD_MUTEX_INITIALIZER
#define CONDITION PTHREAD_COND_INITIALIZER
#define lock(m) pthread_mutex_lock(m)
#define unlock(m) pthread_mutex_unlock(m)
#define wait_for(c, m) pthread_cond_wait(c, m)
#define wake(c) pthread_cond_signal(c)
#define give_way() sched_yield()
#endif

#define MOST_HELPERS 255
#define SPINS 2000 /* 10 to 100 microseconds, by the processor: what sleeping and waking would take */

typedef struct {
    mutex mutex;
    condition offer, idle;
    int started, offered, taken; /* helpers: started, still wanted, arrived */
    atomic_int busy;             /* helpers in the work */
    void (*work)(void *, int);
    void *job;
} helpers;

static helpers pool = {.mutex = MUTEX, .offer = CONDITION, .idle = CONDITION};
static atomic_flag owned = ATOMIC_FLAG_INIT;

void pool_pause(long turn) {
    if (turn % SPINS == SPINS - 1)
        give_way();
#if defined(_WIN32)
    YieldProcessor();
#elif defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

long long pool_now(void) {
#ifdef _WIN32
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    return (long long)((double)count.QuadPart * 1e9 / (double)frequency.QuadPart);
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
#endif
}

static void help(void) {
    lock(&pool.mutex);
    for (;;) {
        while (pool.offered == 0)
            wait_for(&pool.offer, &pool.mutex);
        pool.offered--;
        atomic_fetch_add(&pool.busy, 1);
        const int who = ++pool.taken;
        void (*work)(void *, int) = pool.work;
        void *job = pool.job;
        unlock(&pool.mutex);
        work(job, who);
        lock(&pool.mutex);
        if (atomic_fetch_sub(&pool.busy, 1) == 1)
            wake(&pool.idle);
    }
}

#ifdef _WIN32
static DWORD WINAPI begin(void *unused) {
    (void)unused;
    help();
    return 0;
}

static int start(void) {
    HANDLE thread = CreateThread(NULL, 0, begin, NULL, 0, NULL);
    return thread != NULL && CloseHandle(thread);
}

void pool_prepare_fork(void) {}
#else
static void *begin(void *unused) {
    (void)unused;
    help();
    return NULL;
}

/* Return whether a thread has begun; signals are for the threads of the program. */
static int start(void) {
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread, NULL, begin, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return !failed && !pthread_detach(thread);
}

static void forget(void) {
    pool = (helpers){.mutex = MUTEX, .offer = CONDITION, .idle = CONDITION};
    atomic_flag_clear(&owned);
}

void pool_prepare_fork(void) {
    static atomic_flag is_prepared = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&is_prepared))
        pthread_atfork(NULL, NULL, forget);
}
#endif

void pool_run(int wanted, void (*work)(void *, int), void *job) {
    if (wanted < 1 || atomic_flag_test_and_set(&owned)) {
        work(job, 0);
        return;
    }
    lock(&pool.mutex);
    wanted = wanted < MOST_HELPERS ? wanted : MOST_HELPERS;
    while (pool.started < wanted && start())
        pool.started++;
    pool.work = work;
    pool.job = job;
    pool.taken = 0;
    pool.offered = wanted < pool.started ? wanted : pool.started;
    for (int n = 0; n < pool.offered; n++)
        wake(&pool.offer);
    unlock(&pool.mutex);
    work(job, 0);
    lock(&pool.mutex);
    pool.offered = 0;
    unlock(&pool.mutex);
    for (long turn = 0; turn < SPINS && atomic_load(&pool.busy) > 0; turn++)
        pool_pause(turn);
    lock(&pool.mutex);
    while (atomic_load(&pool.busy) > 0)
        wait_for(&pool.idle, &pool.mutex);
    unlock(&pool.mutex);
    atomic_flag_clear(&owned);
}
