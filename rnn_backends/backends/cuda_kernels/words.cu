// How states pass from block to block.  With SWEEP, the launch before has written them.
//
// Otherwise `states` itself, every word of which is written once, over UNSET, a NaN that no result is, shows what is
// there.  Whoever needs a word reads it until it is.  No wait is unbounded: after WAITS tries a word is taken for NaN,
// and the thread waits no more; NaN in the result reports it.

#if SWEEP
template <class T>
DEVICE T read(const T* from) {
  return *from;
}
template <class T>
DEVICE void write(T* to, T x) {
  *to = x;
}
#else
template <class T>
DEVICE T read(const T* from) {
  return load_relaxed(from);
}
template <class T>
DEVICE void write(T* to, T x) {
  store_relaxed(to, x);
}
#endif

#ifndef WAITS
#define WAITS (1 << 22)  // some seconds
#endif

template <class Word, int COUNT>
DEVICE bool are_there(const Word (&words)[COUNT]) {
  constexpr Word UNSET = (Word) ~(Word)0;
#pragma unroll
  for (int e = 0; e < COUNT; ++e)
    if (words[e] == UNSET) return false;
  return true;
}

// Reads a chunk of words again until they are there.
template <class Chunk>
DEVICE Chunk awaited(const Chunk* from, int& waits) {
  Chunk fetched;
  int tries = waits;
  do {
    wait_a_little();
    fetched = read(from);
  } while (!are_there(fetched.of) && --tries > 0);
  if (tries <= 0) waits = 1;
  return fetched;
}
