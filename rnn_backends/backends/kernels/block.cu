// One block, or one cluster of blocks, walks a few sequences through all of time.  a<t-1> is in the shared memory of
// each block and is never fetched; a<t> is written beside it, so that one barrier a step is enough.
//
// Launch: a block for each slice of the rows, for each SEQUENCES of the batch.  inputs may be states.

#if CLUSTER
DEVICE void publish(real* to, real x) {
#pragma unroll
  for (int peer = 0; peer < SLICES; ++peer) store_to_peer(to, peer, x);
}
DEVICE void barrier() { cluster_barrier(); }
#else
DEVICE void publish(real* to, real x) { *to = x; }
DEVICE void barrier() { block_barrier(); }
#endif

DEVICE void load_initial(const Walk& walk, real* h, int first) {
  for (int i = thread_index(); i < 2 * SEQUENCES * COLUMNS; i += THREADS) {
    const int s = i / COLUMNS, column = i % COLUMNS;
    const bool inside = s < SEQUENCES && first + s < walk.batch && column < walk.size;
    h[i] = inside ? walk.h_0[(long long)(first + s) * walk.size + column] : 0;
  }
}

// The sequence of each round, the number of its steps that are valid, and whether this thread has it at all.
struct Sequences {
  int number[ROUNDS], end[ROUNDS];
  bool is_mine[ROUNDS];
};

DEVICE Sequences sequences_of(const Walk& walk, const Share& share, int first) {
  Sequences mine;
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const int s = round * PER_ROUND + share.turn;
    mine.number[round] = first + s;
    mine.is_mine[round] = share.is_whole && s < SEQUENCES && first + s < walk.batch;
    mine.end[round] = mine.is_mine[round] ? length_of(walk, first + s) : 0;
  }
  return mine;
}

DEVICE void fetch(const Walk& walk, const Share& share, const Sequences& mine, int step, real (&inputs)[ROUNDS]) {
  if (step >= walk.seq_len) return;
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round)
    if (mine.is_mine[round]) inputs[round] = input_at(walk, time_of(walk, step), mine.number[round], share.row);
}

DEVICE void take_step(const Walk& walk, const Tile& tile, const Share& share, const Sequences& mine, int step,
                      const real (&inputs)[ROUNDS], real* h) {
  const int t = time_of(walk, step);
  const real* now = h + step % 2 * (SEQUENCES * COLUMNS);
  real* next = h + (step + 1) % 2 * (SEQUENCES * COLUMNS);
  real totals[ROUNDS];
  product(tile, now, share, totals);
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    if (!mine.is_mine[round]) continue;
    const int at = (round * PER_ROUND + share.turn) * COLUMNS + share.row;
    const real z = totals[round] + (inputs[round] + share.bias);
    const real a = t < mine.end[round] ? next_state(walk, z, now[at]) : now[at];
    publish(next + at, a);
    walk.states[place(walk, t, mine.number[round]) + share.row] = a;
  }
}

// Inputs are fetched DEPTH steps ahead, for which memory takes longer than a step does.
KERNEL walk_block(PARAMETERS) {
  const Walk walk = ARGUMENTS;
  const int first = block_index() / SLICES * SEQUENCES, first_row = block_index() % SLICES * BLOCK_ROWS;
  Tile tile;
  load(tile, walk, first_row);
  real* h = (real*)((Vector*)shared_memory() + OTHERS);
  load_initial(walk, h, first);
  const Share share = share_of(walk, first_row);
  const Sequences mine = sequences_of(walk, share, first);
  real ahead[DEPTH][ROUNDS];
#pragma unroll
  for (int d = 0; d < DEPTH; ++d) fetch(walk, share, mine, d, ahead[d]);
  barrier();  // h_0 is there
  for (int begin = 0; begin < walk.seq_len; begin += DEPTH) {
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      if (begin + d >= walk.seq_len) break;
      take_step(walk, tile, share, mine, begin + d, ahead[d], h);
      fetch(walk, share, mine, begin + d + DEPTH, ahead[d]);
      barrier();  // a<t> is complete
    }
  }
}
