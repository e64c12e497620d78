/* Walks on one thread or several. */
#ifndef RNN_SCHEDULE_H
#define RNN_SCHEDULE_H

#include "kernel.h"

/* Walk through all steps of some walks, which do not depend on each other; return 0, or -1 where memory is out. */
int run_walks(const kernel *k, int is_double, const walk *walks, int count, int threads);

#endif
