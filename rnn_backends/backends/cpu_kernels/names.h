#ifndef NAMES_H
#define NAMES_H
#define KERNEL "plain"
#endif
