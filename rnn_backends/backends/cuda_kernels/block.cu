// One block walks a few sequences through all of time.  a<t-1> is in its shared memory and is never fetched; a<t> is
// written beside it, so that one barrier a step is enough.
//
// FUSED: x<t> lies behind a<t-1>, and one product makes W_aa a<t-1> + W_ax x<t>.  Otherwise W_ax x<t> is given, and may
// be where the states will be.
//
// Launch: a block for each direction and each SEQUENCES of the batch.

// The sequence of each round, the number of its steps that are valid, and whether this thread has it at all.
struct Sequences {
  int first, number[ROUNDS], end[ROUNDS];
  bool is_mine[ROUNDS];
};

DEVICE Sequences sequences_of(const Walk& walk, const Share& share, int first) {
  Sequences mine;
  mine.first = first;
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const int s = round * PER_ROUND + share.turn;
    mine.number[round] = first + s;
    mine.is_mine[round] = share.is_whole && s < SEQUENCES && first + s < walk.batch;
    mine.end[round] = mine.is_mine[round] ? length_of(walk, first + s) : 0;
  }
  return mine;
}

#if FUSED
// The words of x<t> that this thread fetches, as far as there are so many inputs and sequences.  To make numbers of them
// would be to wait for them.
struct Inputs {
  word of[STAGED];
};

DEVICE bool has_input(const Walk& walk, const Sequences& mine, int word, int& s, int& column) {
  s = word / walk.input_size, column = word % walk.input_size;
  return s < SEQUENCES && mine.first + s < walk.batch;
}

DEVICE void fetch(const Walk& walk, const Share&, const Sequences& mine, int step, Inputs& inputs) {
  if (step >= walk.seq_len) return;
  const long long t = time_of(walk, step);
#pragma unroll
  for (int k = 0; k < STAGED; ++k) {
    int s, column;
    if (has_input(walk, mine, k * THREADS + thread_index(), s, column))
      inputs.of[k] = walk.features[(t * walk.batch + mine.first + s) * walk.input_size + column];
  }
}

// Writes inputs to behind the states that they are to be multiplied with.
DEVICE void stage(const Walk& walk, const Sequences& mine, const Inputs& inputs, real* h) {
#pragma unroll
  for (int k = 0; k < STAGED; ++k) {
    int s, column;
    if (has_input(walk, mine, k * THREADS + thread_index(), s, column))
      h[s * COLUMNS + walk.size + column] = real_of(inputs.of[k]);
  }
}

DEVICE void fetch_ids(const Walk&, const Sequences&, int, Inputs&) {}
DEVICE real input_of(const Inputs&, int) { return 0; }
#else
// W_ax x<t> of what this thread finishes, and the id that the next fetch looks up.
struct Inputs {
  real of[ROUNDS];
  identifier next[ROUNDS];
};

DEVICE void fetch_ids(const Walk& walk, const Sequences& mine, int step, Inputs& inputs) {
  if (step >= walk.seq_len) return;
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round)
    if (mine.is_mine[round]) inputs.next[round] = id_at(walk, time_of(walk, step), mine.number[round]);
}

DEVICE void fetch(const Walk& walk, const Share& share, const Sequences& mine, int step, Inputs& inputs) {
  if (step >= walk.seq_len) return;
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round)
    if (mine.is_mine[round])
      inputs.of[round] = input_at(walk, time_of(walk, step), mine.number[round], share.row, inputs.next[round]);
  fetch_ids(walk, mine, step + DEPTH, inputs);
}

DEVICE void stage(const Walk&, const Sequences&, const Inputs&, real*) {}

DEVICE real input_of(const Inputs& inputs, int round) { return inputs.of[round]; }
#endif

DEVICE void load_initial(const Walk& walk, real* h, int first) {
  for (int i = thread_index(); i < 2 * SEQUENCES * COLUMNS; i += THREADS) {
    const int s = i / COLUMNS, column = i % COLUMNS;
    const bool inside = s < SEQUENCES && first + s < walk.batch && column < walk.size;
    h[i] = inside ? real_of(walk.cells[0].h_0[(long long)(first + s) * walk.size + column]) : 0;
  }
}

// Makes a<t> of a<t-1>: in shared memory, and what this thread has of them in `states`.
DEVICE void take_step(const Walk& walk, const Tile& tile, const Share& share, const Sequences& mine, int step,
                      const Inputs& inputs, const real* now, real* next, real (&states)[ROUNDS]) {
  const int t = time_of(walk, step);
  real totals[ROUNDS];
  product(tile, now, share, totals);
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    if (!mine.is_mine[round]) continue;
    const int at = (round * PER_ROUND + share.turn) * COLUMNS + share.row, b = mine.number[round];
    const real z = totals[round] + (input_of(inputs, round) + share.bias);
    const real a = advanced(walk, t, b, share.row, mine.end[round], z, states[round]);
    states[round] = next[at] = a;
  }
}

DEVICE void write(const Walk& walk, const Share& share, const Sequences& mine, int step, const real (&states)[ROUNDS]) {
  const int t = time_of(walk, step);
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round)
    if (mine.is_mine[round])
      walk.states[place(walk, t, mine.number[round]) + share.row] = t < mine.end[round] ? word_of(states[round]) : 0;
}

// Inputs are fetched DEPTH steps ahead, for which memory takes longer than a step does.
KERNEL walk_block(const Walk all) {
  const Walk walk = walk_of(all, block_index() / all.blocks);
  const int first = block_index() % all.blocks * SEQUENCES;
  Tile tile;
  load(tile, walk, 0);
  real* h = (real*)((Vector*)shared_memory() + OTHERS);
  load_initial(walk, h, first);
  block_barrier();  // whoever wrote 0 to where inputs will be has done so
  const Share share = share_of(walk, 0);
  const Sequences mine = sequences_of(walk, share, first);
  Inputs ahead[DEPTH] = {};
#if FUSED
  fetch(walk, share, mine, 0, ahead[0]);
  stage(walk, mine, ahead[0], h);
#endif
#pragma unroll
  for (int d = 0; d < DEPTH; ++d) fetch_ids(walk, mine, d, ahead[d]);
#pragma unroll
  for (int d = 0; d < DEPTH; ++d) fetch(walk, share, mine, d + FUSED, ahead[d]);
  real states[ROUNDS];
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round)
    states[round] = mine.is_mine[round] ? h[(round * PER_ROUND + share.turn) * COLUMNS + share.row] : 0;
  block_barrier();  // h_0 and x<1> are there
  for (int begin = 0; begin < walk.seq_len; begin += DEPTH) {
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      const int step = begin + d;
      if (step >= walk.seq_len) break;
      real *now = h + step % 2 * (SEQUENCES * COLUMNS), *next = h + (step + 1) % 2 * (SEQUENCES * COLUMNS);
      take_step(walk, tile, share, mine, step, ahead[d], now, next, states);
      stage(walk, mine, ahead[d], next);
      block_barrier();  // a<t> is complete; nobody waits for what follows
      write(walk, share, mine, step, states);
      fetch(walk, share, mine, step + DEPTH + FUSED, ahead[d]);
    }
  }
}
