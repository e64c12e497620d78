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

// Inputs are fetched DEPTH steps ahead, for which memory takes longer than a step does.
KERNEL walk_block(PARAMETERS) {
  const Walk walk = ARGUMENTS;
  const int first = block_index() / SLICES * SEQUENCES, first_row = block_index() % SLICES * BLOCK_ROWS;
  Tile tile;
  load(tile, walk, first_row);
  real* h = (real*)((Vector*)shared_memory() + OTHERS);
  load_initial(walk, h, first);
  const Share share = share_of(walk, first_row);
  const real bias_of_row = share.is_whole && walk.bias ? walk.bias[share.row] : 0;
  int sequence[ROUNDS], end[ROUNDS];
  bool is_mine[ROUNDS];
  real ahead[DEPTH][ROUNDS];
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const int s = round * PER_ROUND + share.turn;
    sequence[round] = first + s;
    is_mine[round] = share.is_whole && s < SEQUENCES && first + s < walk.batch;
    end[round] = is_mine[round] ? length_of(walk, first + s) : 0;
#pragma unroll
    for (int d = 0; d < DEPTH; ++d)
      if (is_mine[round] && d < walk.seq_len)
        ahead[d][round] = input_at(walk, time_of(walk, d), sequence[round], share.row);
  }
  barrier();  // h_0 is there
  for (int begin = 0; begin < walk.seq_len; begin += DEPTH) {
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      const int step = begin + d, t = time_of(walk, step);
      if (step >= walk.seq_len) break;
      const real* now = h + step % 2 * (SEQUENCES * COLUMNS);
      real* next = h + (step + 1) % 2 * (SEQUENCES * COLUMNS);
      real totals[ROUNDS];
      product(tile, now, share, totals);
#pragma unroll
      for (int round = 0; round < ROUNDS; ++round) {
        if (!is_mine[round]) continue;
        const int at = (round * PER_ROUND + share.turn) * COLUMNS + share.row;
        const real z = totals[round] + (ahead[d][round] + bias_of_row);
        const real a = t < end[round] ? next_state(walk, z, now[at]) : now[at];
        publish(next + at, a);
        if (step + DEPTH < walk.seq_len)
          ahead[d][round] = input_at(walk, time_of(walk, step + DEPTH), sequence[round], share.row);
        walk.states[place(walk, t, sequence[round]) + share.row] = a;
      }
      barrier();  // a<t> is complete
    }
  }
}
