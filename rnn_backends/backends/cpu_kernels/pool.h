/* Helper threads, which are kept and may be late: whatever they do not begin, the caller does. */
#ifndef RNN_POOL_H
#define RNN_POOL_H

/* Do `work(job, 0)` here and `work(job, 1 ...)` on as many helpers as come before it is done; return when none is in it.
 *
 * Work on its own must do the whole job.  While another thread has the helpers, it does. */
void pool_run(int helpers, void (*work)(void *job, int who), void *job);

/* Make a process that was forked start helpers of its own. */
void pool_prepare_fork(void);

/* Let a processor rest for a moment in a loop that waits; let others run after many. */
void pool_pause(long turn);

/* The time in ns, from an arbitrary origin. */
long long pool_now(void);

#endif
