#include "names.h"

const char *plain_name(void) {
    return KERNEL;
}
