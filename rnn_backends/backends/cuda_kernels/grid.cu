// All multiprocessors share the walk, each block with a slice of the rows and a share of the batch, and pass states on
// through memory.  Of two ways to launch it, SWEEP takes one step: the launch before it has written the states that it
// reads, and inputs may be states.
//
// Otherwise all blocks are on the chip at once, and take all steps: the launch is cooperative, and inputs are not
// states.
//
// Launch: for each direction and each share of the batch, SLICES blocks.

constexpr int CHUNKS = (COLUMNS / CHUNK + THREADS - 1) / THREADS;  // of a state, that a thread fetches
constexpr int AT_ONCE = SEQUENCES * CHUNKS < 16 / CHUNK ? SEQUENCES * CHUNKS : 16 / CHUNK;
static_assert(CHUNK == 1 || CHUNK == VECTOR, "a chunk is stored as a vector, or alone");

DEVICE void put(real* to, const Words& words) {
#if CHUNK > 1
  Vector x;
#pragma unroll
  for (int e = 0; e < CHUNK; ++e) x.of[e] = real_of(words.of[e]);
  *(Vector*)to = x;
#else
  *to = real_of(words.of[0]);
#endif
}

// Fetches the states of `count` sequences from `first` on, as they are before a step.  Beyond a length none is passed
// on: the state before is h_0 still, or is needed by nobody.
DEVICE void collect(const Walk& walk, int step, int first, int count, real* h, int& waits) {
  const word* from[SEQUENCES];
  bool is_passed_on[SEQUENCES];
  const int t = time_of(walk, step - 1);
#pragma unroll
  for (int s = 0; s < SEQUENCES; ++s) {
    const int b = first + (s < count ? s : 0);
    is_passed_on[s] = step > 0 && t < length_of(walk, b);
    from[s] = is_passed_on[s] ? walk.states + place(walk, t, b) : walk.cells[0].h_0 + (long long)b * walk.size;
  }
#pragma unroll
  for (int begin = 0; begin < SEQUENCES * CHUNKS; begin += AT_ONCE) {
    Words fetched[AT_ONCE] = {};
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      const int s = (begin + k) / CHUNKS, column = ((begin + k) % CHUNKS * THREADS + thread_index()) * CHUNK;
      if (s < SEQUENCES && s < count && column < walk.size) fetched[k] = read((const Words*)(from[s] + column));
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; ++k) {
      const int s = (begin + k) / CHUNKS, column = ((begin + k) % CHUNKS * THREADS + thread_index()) * CHUNK;
      if (s >= SEQUENCES || column >= COLUMNS) continue;
      if (!SWEEP && is_passed_on[s] && !are_there(fetched[k].of))
        fetched[k] = awaited((const Words*)(from[s] + column), waits);
      put(h + s * COLUMNS + column, fetched[k]);
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
    if (share.is_whole && s < SEQUENCES && first + s < end)
      inputs[round] = input_at(walk, t, first + s, share.row, id_at(walk, t, first + s));
  }
  collect(walk, step, first, end - first, h, waits);
  block_barrier();  // h is complete; the other buffer is free, for whoever is here has used it
  product(tile, h, share, totals);
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const int s = round * PER_ROUND + share.turn, b = first + s;
    if (!share.is_whole || s >= SEQUENCES || b >= end) continue;
    const int valid = length_of(walk, b);
    const real z = totals[round] + (inputs[round] + share.bias);
    const real a = advanced(walk, t, b, share.row, valid, z, h[s * COLUMNS + share.row]);
    const word bits = t >= valid ? 0 : word_of(a != a ? not_a_number() : a);
    write(walk.states + place(walk, t, b) + share.row, bits);
  }
}

KERNEL walk_grid(const Walk all) {
  const Walk walk = walk_of(all, block_index() / all.blocks);
  const int block = block_index() % all.blocks, first_row = block % SLICES * BLOCK_ROWS;
  const int begin = block / SLICES * walk.sequences;
  const int end = begin + walk.sequences < walk.batch ? begin + walk.sequences : walk.batch;
  Tile tile;
  load(tile, walk, first_row);
  real* buffers = (real*)((Vector*)shared_memory() + OTHERS);
  const Share share = share_of(walk, first_row);
  int waits = WAITS, turn = 0;
  for (int step = walk.begin; step < walk.end; ++step)
    for (int first = begin; first < end; first += SEQUENCES, turn ^= 1)
      take_turn(walk, tile, share, step, first, end, buffers + turn * (SEQUENCES * COLUMNS), waits);
}
