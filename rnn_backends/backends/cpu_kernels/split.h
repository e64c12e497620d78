/* One walk on two threads, of which each computes half of the columns of every step. */
#ifndef RNN_SPLIT_H
#define RNN_SPLIT_H

#include "kernel.h"

/* Whether the steps of a walk are few rows, and long enough for handing over their halves. */
int can_split(const walk *w, int lanes);

/* Walk through all steps; return 0, or -1 where memory is out. */
int run_split(const kernel *k, int is_double, const walk *w);

#endif
