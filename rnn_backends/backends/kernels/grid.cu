// All blocks are on the chip at once, each with a slice of the rows and a share of the batch, and pass states on
// through memory: `states` itself, every word of which is written once, over UNSET, a NaN that no result is.  Whoever
// needs a word reads it until it is there.  No wait is unbounded: after WAITS tries a word is taken for NaN, and the
// thread waits no more; NaN in the result tells of it.
//
// Launch: cooperative; SLICES blocks for each share of the batch; inputs are not states.

constexpr word UNSET = ~(word)0;
constexpr int WORDS = (COLUMNS + THREADS - 1) / THREADS;  // of a state, that a thread fetches
constexpr int AT_ONCE = SEQUENCES * WORDS < 16 ? SEQUENCES * WORDS : 16;

#ifndef WAITS
#define WAITS (1 << 22)  // some seconds
#endif

// Fetches the states of `count` sequences from `first` on, as they are before a step.
DEVICE void collect(const Walk& walk, int step, int first, int count, real* h, int& waits) {
  const real* from = step ? walk.states + place(walk, time_of(walk, step - 1), first)
                          : walk.h_0 + (long long)first * walk.size;
#pragma unroll
  for (int begin = 0; begin < SEQUENCES * WORDS; begin += AT_ONCE) {
    real fetched[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      const int s = (begin + k) / WORDS, column = (begin + k) % WORDS * THREADS + thread_index();
      const bool inside = s < SEQUENCES && s < count && column < walk.size;
      fetched[k] = inside ? load_relaxed(from + (long long)s * walk.size + column) : 0;
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      const int s = (begin + k) / WORDS, column = (begin + k) % WORDS * THREADS + thread_index();
      int tries = waits;
      while (step && bits_of(fetched[k]) == UNSET && --tries > 0) {
        wait_a_little();
        fetched[k] = load_relaxed(from + (long long)s * walk.size + column);
      }
      if (tries <= 0) waits = 1;
      if (s < SEQUENCES && column < COLUMNS) h[s * COLUMNS + column] = fetched[k];
    }
  }
}

// Takes a step of the sequences from `first` to before `end`, SEQUENCES at most.
DEVICE void take_turn(const Walk& walk, const Tile& tile, const Share& share, int step, int first, int end, real* h,
                      int& waits) {
  const int t = time_of(walk, step);
  real inputs[ROUNDS], totals[ROUNDS];
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const int s = round * PER_ROUND + share.turn;
    if (share.is_whole && s < SEQUENCES && first + s < end) inputs[round] = input_at(walk, t, first + s, share.row);
  }
  collect(walk, step, first, end - first, h, waits);
  block_barrier();  // h is complete; the other buffer is free, for whoever is here has used it
  product(tile, h, share, totals);
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const int s = round * PER_ROUND + share.turn, b = first + s;
    if (!share.is_whole || s >= SEQUENCES || b >= end) continue;
    const real before = h[s * COLUMNS + share.row];
    const real z = totals[round] + (inputs[round] + share.bias);
    const real a = t < length_of(walk, b) ? next_state(walk, z, before) : before;
    store_relaxed(walk.states + place(walk, t, b) + share.row, a != a ? not_a_number() : a);
  }
}

KERNEL walk_grid(PARAMETERS, int sequences_per_block) {
  const Walk walk = ARGUMENTS;
  const int first_row = block_index() % SLICES * BLOCK_ROWS, begin = block_index() / SLICES * sequences_per_block;
  const int end = begin + sequences_per_block < walk.batch ? begin + sequences_per_block : walk.batch;
  Tile tile;
  load(tile, walk, first_row);
  real* buffers = (real*)((Vector*)shared_memory() + OTHERS);
  const Share share = share_of(walk, first_row);
  int waits = WAITS, turn = 0;
  for (int step = 0; step < walk.seq_len; ++step)
    for (int first = begin; first < end; first += SEQUENCES, turn ^= 1)
      take_turn(walk, tile, share, step, first, end, buffers + turn * (SEQUENCES * COLUMNS), waits);
}
