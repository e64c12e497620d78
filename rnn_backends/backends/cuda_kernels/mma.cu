// grid.cu's walk with states of 16 bits and a product on tensor cores: the launch, and SWEEP, are its own.  The weights
// are numbers of 16 bits, too, widened where they lie; see Recurrence in rnn_backends/core/recurrence.py.
//
// A block has BLOCK_ROWS rows of W_aa, in registers, and a share of the batch, of which it takes SEQUENCES at a time.
// An `mma` makes 16 sequences x 8 rows of 16 columns.  So, and not the other way round, two neighbouring rows of a
// sequence end up in one lane, and pass on as one word of 32 bits.
//
// A warp has all rows and sequences of its PARTS of 32 columns each, and alone fetches these of the states, from memory
// to the registers where `mma` wants them.  Each lane has 8 neighbouring columns, pair 2 i of which stands for columns
// 2 k and 2 k + 1 of product i of two, pair 2 i + 1 for columns 2 k + 8 and 2 k + 9, alike in states and weights: in
// which order columns are summed is all the same.  What the warps have summed is added in shared memory.
//
// Tensor cores cut numbers off where others round them, but here a sum of theirs has so few columns that the error
// keeps below that of a sum of all columns in float32; see `Tensor.is_accurate` in tensor.py.

constexpr int WARPS = THREADS / 32;
constexpr int GROUPS = BLOCK_ROWS / 8;     // of rows
constexpr int TILES = SEQUENCES / 16;      // of sequences
constexpr int RESULTS = GROUPS * TILES * 64;  // pairs of rows of a sequence
constexpr int ROUNDS = (RESULTS + THREADS - 1) / THREADS;
constexpr int AT_ONCE = PARTS * TILES < 8 ? PARTS : 8 / TILES;  // the parts that are fetched before the first is multiplied
static_assert(BLOCK_ROWS % 8 == 0 && SEQUENCES % 16 == 0 && TILES <= 8, "no whole tiles");

struct Weights {
  unsigned int of[PARTS][GROUPS][4];
};

struct alignas(8) Pair {
  real of[2];
};

struct ALIGNED Sums {
  real of[4];
};

DEVICE int column_of(int part) { return (part * THREADS + thread_index()) / 32 * 32 + thread_index() % 4 * 8; }

DEVICE unsigned int packed(real first, real second) {
  return word_of(first) | (unsigned int)word_of(second) << 16;
}

// Loads the weights of the rows from `first` on; beyond the last row and column they are 0.
DEVICE void load(Weights& weights, const Walk& walk, int first) {
#pragma unroll
  for (int part = 0; part < PARTS; ++part)
#pragma unroll
    for (int group = 0; group < GROUPS; ++group) {
      const int row = first + group * 8 + thread_index() % 32 / 4, column = column_of(part);
      const bool inside = row < walk.size && column < walk.size;
      const real* from = walk.cells[0].weight_hh + (inside ? (long long)row * walk.size + column : 0);
#pragma unroll
      for (int k = 0; k < 4; ++k)
        weights.of[part][group][k] = inside ? packed(from[2 * k], from[2 * k + 1]) : 0;
    }
}

// The state of a sequence before a step.  Beyond a length none is passed on: it is h_0 still, or is needed by nobody.
struct State {
  const word* from;
  bool is_passed_on, is_one;
};

DEVICE State state_before(const Walk& walk, int step, int b, int end) {
  if (b >= end) return {nullptr, false, false};
  const int t = time_of(walk, step - 1);
  if (step > 0 && t < length_of(walk, b)) return {walk.states + place(walk, t, b), true, true};
  return {walk.cells[0].h_0 + (long long)b * walk.size, false, true};
}

// Adds this warp's share of W_aa h of the sequences from `first` to before `end`.
DEVICE void multiply(const Walk& walk, const Weights& weights, int step, int first, int end,
                     real (&sums)[TILES][GROUPS][4], int& waits) {
  State states[TILES][2];
#pragma unroll
  for (int half = 0; half < 2 * TILES; ++half)
    states[half / 2][half % 2] = state_before(walk, step, first + half * 8 + thread_index() % 32 / 4, end);
#pragma unroll
  for (int begin = 0; begin < PARTS; begin += AT_ONCE) {
    Pairs h[AT_ONCE][TILES][2] = {};
#pragma unroll
    for (int k = 0; k < AT_ONCE * TILES * 2; ++k) {
      const int part = k / (TILES * 2), tile = k / 2 % TILES, column = column_of(begin + part);
      const State& state = states[tile][k % 2];
      if (begin + part < PARTS && column < walk.size && state.is_one)
        h[part][tile][k % 2] = read((const Pairs*)(state.from + column));
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE * TILES * 2; ++k) {
      const int part = k / (TILES * 2), tile = k / 2 % TILES, column = column_of(begin + part);
      const State& state = states[tile][k % 2];
      Pairs& fetched = h[part][tile][k % 2];
      if (!SWEEP && begin + part < PARTS && state.is_passed_on && !are_there(fetched.of))
        fetched = awaited((const Pairs*)(state.from + column), waits);
    }
#pragma unroll
    for (int part = 0; part < AT_ONCE; ++part)
#pragma unroll
      for (int k = 0; k < TILES * GROUPS * 2; ++k) {  // neighbours in this order do not wait for each other
        if (begin + part >= PARTS) break;
        const int i = k / (TILES * GROUPS) * 2, tile = k / GROUPS % TILES, group = k % GROUPS;
        const Pairs(&pairs)[2] = h[part][tile];
        const unsigned int a[4] = {pairs[0].of[i], pairs[1].of[i], pairs[0].of[i + 1], pairs[1].of[i + 1]};
        const unsigned int(&all)[4] = weights.of[begin + part][group];
        const unsigned int b[2] = {all[i], all[i + 1]};
        mma(sums[tile][group], a, b);
      }
  }
}

// The pair of rows that a thread finishes in a round, of a sequence; `number` is where a warp has its share of it.
struct Result {
  int number, row, b;
  bool is_mine;
};

DEVICE Result result_of(const Walk& walk, int round, int first_row, int first, int end) {
  const int number = round * THREADS + thread_index(), lane = number / 2 % 32, fragment = number / 64;
  const int row = first_row + fragment % GROUPS * 8 + lane % 4 * 2;
  const int b = first + fragment / GROUPS * 16 + number % 2 * 8 + lane / 4;
  return {number, row, b, number < RESULTS && row < walk.size && b < end};
}

DEVICE void finish(const Walk& walk, const Result& mine, int t, const real (&z)[2], unsigned int before) {
  const int valid = length_of(walk, mine.b);
  unsigned int both = 0;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const real a = advanced(walk, t, mine.b, mine.row + k, valid, z[k], real_of((word)(before >> 16 * k)));
    both |= (unsigned int)word_of(a != a ? not_a_number() : a) << 16 * k;
  }
  write((unsigned int*)(walk.states + place(walk, t, mine.b) + mine.row), t >= valid ? 0 : both);
}

// Takes a step of the sequences from `first` to before `end`, SEQUENCES at most.
DEVICE void take_turn(const Walk& walk, const Weights& weights, int first_row, int step, int first, int end,
                      Sums* shares, int& waits) {
  const int t = time_of(walk, step);
  real inputs[ROUNDS][2], sums[TILES][GROUPS][4] = {};
  unsigned int before[ROUNDS];
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const Result mine = result_of(walk, round, first_row, first, end);
    if (!mine.is_mine) continue;
    const identifier id = id_at(walk, t, mine.b);
    const real* bias = walk.cells[0].bias;
#pragma unroll
    for (int k = 0; k < 2; ++k)
      inputs[round][k] = input_at(walk, t, mine.b, mine.row + k, id) + (bias ? bias[mine.row + k] : 0);
    // It is there: this very thread has written it.
    before[round] = read((const unsigned int*)(state_before(walk, step, mine.b, end).from + mine.row));
  }
  multiply(walk, weights, step, first, end, sums, waits);
#pragma unroll
  for (int k = 0; k < TILES * GROUPS; ++k) {
    Sums share;
#pragma unroll
    for (int e = 0; e < 4; ++e) share.of[e] = sums[k / GROUPS][k % GROUPS][e];
    shares[(thread_index() / 32 * TILES * GROUPS + k) * 32 + thread_index() % 32] = share;
  }
  block_barrier();  // all shares are there; the other buffer is free, for whoever is here has used it
#pragma unroll
  for (int round = 0; round < ROUNDS; ++round) {
    const Result mine = result_of(walk, round, first_row, first, end);
    if (!mine.is_mine) continue;
    real z[2] = {0, 0};
#pragma unroll
    for (int warp = 0; warp < WARPS; ++warp) {
      const Pair share = ((const Pair*)shares)[warp * RESULTS + mine.number];
      z[0] += share.of[0], z[1] += share.of[1];
    }
    z[0] += inputs[round][0], z[1] += inputs[round][1];
    finish(walk, mine, t, z, before[round]);
  }
}

KERNEL walk_grid(const Walk all) {
  const Walk walk = walk_of(all, block_index() / all.blocks);
  const int block = block_index() % all.blocks, first_row = block % SLICES * BLOCK_ROWS;
  const int begin = block / SLICES * walk.sequences;
  const int end = begin + walk.sequences < walk.batch ? begin + walk.sequences : walk.batch;
  Weights weights;
  load(weights, walk, first_row);
  Sums* shares = (Sums*)shared_memory();
  int waits = WAITS, turn = 0;
  for (int step = walk.begin; step < walk.end; ++step)
    for (int first = begin; first < end; first += SEQUENCES, turn ^= 1)
      take_turn(walk, weights, first_row, step, first, end, shares + turn * (WARPS * RESULTS / 2), waits);
}
