// The product of W_aa with states, or of [W_aa W_ax] with states and inputs: each thread keeps ROWS x (COLUMNS / LANES)
// of the weights, for as long as it lives.
//
// LANES neighbouring threads share ROWS rows and split their columns, 16 bytes in turn, so that what a group reads
// of a state in shared memory is contiguous.  The first HELD vectors of each row are in registers, the others in
// shared memory.

constexpr int VECTOR = 16 / sizeof(real);
constexpr int PARTS = COLUMNS / (LANES * VECTOR);  // the vectors of a row that a thread has
constexpr int SLOTS = ROWS > 4 ? 8 : ROWS > 2 ? 4 : ROWS;
constexpr int PER_ROUND = LANES / SLOTS;           // the sequences that a group of lanes finishes at once
constexpr int ROUNDS = (SEQUENCES + PER_ROUND - 1) / PER_ROUND;
constexpr int BLOCK_ROWS = THREADS / LANES * ROWS;
static_assert(COLUMNS % (LANES * VECTOR) == 0 && HELD >= 1 && HELD <= PARTS, "the columns do not divide");
static_assert(ROWS <= 8 && LANES >= SLOTS && LANES <= 32 && THREADS % 32 == 0, "the rows do not divide");

struct ALIGNED Vector {
  real of[VECTOR];
};

struct Tile {
  Vector held[ROWS][HELD];
  Vector* others;  // (PARTS - HELD, ROWS, THREADS), in shared memory, from this thread's on
};

constexpr int OTHERS = (PARTS - HELD) * ROWS * THREADS;

// A row of the weights [W_aa W_ax], without the second unless FUSED; rows beyond the last are 0.
struct Row {
  const real *hidden, *input;
  int size, width;
};

DEVICE Row row_of(const Walk& walk, int row) {
  const Cell& cell = walk.cells[0];
  if (row >= walk.size) return {cell.weight_hh, cell.weight_ih, 0, 0};
  return {cell.weight_hh + (long long)row * walk.size, cell.weight_ih + (long long)row * walk.input_size - walk.size,
          walk.size, walk.size + walk.input_size};
}

DEVICE Vector weights_of(const Row& row, int column) {
  Vector w;
#if WHOLE  // each row begins at a multiple of 16 bytes
  if (column < row.size) return *(const Vector*)(row.hidden + column);
#pragma unroll
  for (int e = 0; e < VECTOR; ++e) w.of[e] = 0;
#else
#pragma unroll
  for (int e = 0; e < VECTOR; ++e) {
    w.of[e] = column + e < row.size ? row.hidden[column + e] : 0;
#if FUSED
    if (column + e >= row.size && column + e < row.width) w.of[e] = row.input[column + e];
#endif
  }
#endif
  return w;
}

// Loads the weights of the rows from `first` on.
DEVICE void load(Tile& tile, const Walk& walk, int first) {
  tile.others = (Vector*)shared_memory() + thread_index();
  const int begin = thread_index() % LANES * VECTOR;
  Row rows[ROWS];
#pragma unroll
  for (int r = 0; r < ROWS; ++r) rows[r] = row_of(walk, first + thread_index() / LANES * ROWS + r);
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
#pragma unroll
    for (int part = 0; part < HELD; ++part) tile.held[r][part] = weights_of(rows[r], begin + part * LANES * VECTOR);
#pragma unroll 1
  for (int part = HELD; part < PARTS; ++part) {
    Vector fetched[ROWS];  // all at once, or each would wait for the one before
#pragma unroll
    for (int r = 0; r < ROWS; ++r) fetched[r] = weights_of(rows[r], begin + part * LANES * VECTOR);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) tile.others[((part - HELD) * ROWS + r) * THREADS] = fetched[r];
  }
}

DEVICE void add_products(const Vector& w, const Vector (&x)[SEQUENCES], int row, real (&sums)[SEQUENCES][SLOTS]) {
#pragma unroll
  for (int s = 0; s < SEQUENCES; ++s)
#pragma unroll
    for (int e = 0; e < VECTOR; ++e) sums[s][row] += w.of[e] * x[s].of[e];
}

DEVICE void multiply_others(const Tile& tile, const Vector* vectors, real (&sums)[SEQUENCES][SLOTS]) {
  Vector x[SEQUENCES];
#pragma unroll 1  // or the compiler fetches so many weights ahead that registers do not suffice
  for (int part = HELD; part < PARTS; ++part) {
#pragma unroll
    for (int s = 0; s < SEQUENCES; ++s) x[s] = vectors[s * (COLUMNS / VECTOR) + part * LANES];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) add_products(tile.others[((part - HELD) * ROWS + r) * THREADS], x, r, sums);
  }
}

DEVICE void multiply_held(const Tile& tile, const Vector* vectors, real (&sums)[SEQUENCES][SLOTS]) {
  Vector x[SEQUENCES];
#pragma unroll
  for (int part = 0; part < HELD; ++part) {
#pragma unroll
    for (int s = 0; s < SEQUENCES; ++s) x[s] = vectors[s * (COLUMNS / VECTOR) + part * LANES];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) add_products(tile.held[r][part], x, r, sums);
  }
}

// This thread's share of W_aa h, for each row and sequence.
DEVICE void multiply(const Tile& tile, const real* h, real (&sums)[SEQUENCES][SLOTS]) {
  const Vector* vectors = (const Vector*)h + thread_index() % LANES;
#pragma unroll
  for (int s = 0; s < SEQUENCES; ++s)
#pragma unroll
    for (int r = 0; r < SLOTS; ++r) sums[s][r] = 0;
  if (HELD == PARTS) return multiply_held(tile, vectors, sums);
  // Of the warps of a scheduler, which are every fourth, each other begins with its registers: shared memory and
  // multipliers are busy at once.
  const int begins_with_held = thread_index() / 128 % 2;
#pragma unroll 1  // or the code would be there twice
  for (int turn = 0; turn < 2; ++turn) {
    if (turn == begins_with_held)
      multiply_others(tile, vectors, sums);
    else
      multiply_held(tile, vectors, sums);
  }
}

// The row among ROWS whose sum a lane ends up with.
DEVICE int slot_of(int lane) {
  int slot = 0;
#pragma unroll
  for (int level = 0; (SLOTS >> (level + 1)) > 0; ++level)
    if (lane >> level & 1) slot += SLOTS >> (level + 1);
  return slot;
}

// The sum over the lanes of a group of the row that is this lane's: lanes exchange halves of their rows.
DEVICE real reduced(real (&sums)[SLOTS], int lane) {
#pragma unroll
  for (int level = 0; (1 << level) < LANES; ++level) {
    const int half = SLOTS >> (level + 1);
    const bool upper = lane >> level & 1;
#pragma unroll
    for (int k = 0; k < half; ++k) {
      const real kept = upper ? sums[k + half] : sums[k], given = upper ? sums[k] : sums[k + half];
      sums[k] = kept + shuffle_xor(given, 1 << level);
    }
    if (half == 0) sums[0] += shuffle_xor(sums[0], 1 << level);
  }
  return sums[0];
}

// The work of a thread: one row, of one sequence in each round.
struct Share {
  int lane, turn, row;
  bool is_whole;  // the row is one of W_aa
  real bias;
};

DEVICE Share share_of(const Walk& walk, int first_row) {
  const int lane = thread_index() % LANES, slot = slot_of(lane);
  const int row = first_row + thread_index() / LANES * ROWS + slot;
  const bool is_whole = slot < ROWS && row < walk.size;
  const real* bias = walk.cells[0].bias;
  return {lane, lane / SLOTS, row, is_whole, is_whole && bias ? bias[row] : 0};
}

// W_aa h of what this thread finishes.
DEVICE void product(const Tile& tile, const real* h, const Share& share, real (&totals)[ROUNDS]) {
  real sums[SEQUENCES][SLOTS];
  multiply(tile, h, sums);
#pragma unroll
  for (int s = 0; s < SEQUENCES; ++s) {
    const real total = reduced(sums[s], share.lane);
    if (s % PER_ROUND == share.turn) totals[s / PER_ROUND] = total;
  }
}
