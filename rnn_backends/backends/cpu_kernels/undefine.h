/* Forgets the type of number that was compiled. */
#undef T
#undef V
#undef W
#undef OP
#undef LARGEST
#undef EXP2I
#undef PICK
