// The activations of rnn_backends/core/activations.py, and the step from z to a<t>.  Every comparison with NaN is false, and
// selects what keeps it.

DEVICE real g1_identity(real z, real, real) { return z; }
DEVICE real g1_tanh(real z, real, real) { return MATH(tanh)(z); }
DEVICE real g1_sigmoid(real z, real, real) {
  const real e = MATH(exp)(-MATH(fabs)(z));
  return (z < 0 ? e : 1) / (1 + e);
}
DEVICE real g1_relu(real z, real, real) { return z <= 0 ? 0 : z; }
DEVICE real g1_affine(real z, real alpha, real beta) { return alpha * z + beta; }
DEVICE real g1_leaky_relu(real z, real alpha, real) { return z < 0 ? alpha * z : z; }
DEVICE real g1_thresholded_relu(real z, real alpha, real) { return z <= alpha ? 0 : z; }
DEVICE real g1_clipped_relu(real z, real alpha, real) { return z <= 0 ? 0 : z > alpha ? alpha : z; }
DEVICE real g1_scaled_tanh(real z, real alpha, real beta) { return alpha * MATH(tanh)(beta * z); }
DEVICE real g1_hard_sigmoid(real z, real alpha, real beta) {
  const real a = alpha * z + beta;
  return a < 0 ? 0 : a > 1 ? 1 : a;
}
DEVICE real g1_elu(real z, real alpha, real) { return z > 0 ? z : alpha * MATH(expm1)(z); }
DEVICE real g1_softsign(real z, real, real) {
  const real a = MATH(fabs)(z);
  return a > 1 ? (z > 0 ? 1 : -1) / (1 + 1 / a) : z / (1 + a);
}
DEVICE real g1_softplus(real z, real, real) { return (z > 0 ? z : 0) + MATH(log1p)(MATH(exp)(-MATH(fabs)(z))); }

#if DOUBLE
DEVICE real not_a_number() { return double_of(0x7FF8000000000000ull); }
#else
DEVICE real not_a_number() { return float_of(0x7FC00000u); }
#endif

#if LONG_IDS
typedef long long identifier;
#else
typedef int identifier;
#endif
#if LONG_LENGTHS
typedef long long length;
#else
typedef int length;
#endif

struct Cell {
  const real* weight_ih;  // W_ax
  const real* weight_hh;  // W_aa
  const real* bias;       // or null
  const word* h_0;        // (batch, size)
};

// The first argument of every kernel: walk.py has the same fields in the same order.
struct Walk {
  const real* inputs;     // W_ax x<t> (seq_len, batch, pitch), unless the kernel computes it of one of the next two
  const word* features;   // x<t> (seq_len, batch, input_size)
  const identifier* ids;  // (seq_len, batch)
  const length* lengths;  // (batch), or null
  word* states;           // (seq_len, batch, pitch), of all directions
  word* last;             // (directions, batch, size)
  Cell cells[2];          // of the directions
  int seq_len, batch, size, input_size, pitch;
  int reverse;            // of the first direction; the second runs so
  int blocks, sequences;  // the blocks of a direction, and the sequences of a block
  int begin, end;         // the steps to take
  real alpha, beta, clip, leak;
};

// The walk of a direction.
DEVICE Walk walk_of(const Walk& all, int direction) {
  Walk walk = all;
#if DIRECTIONS > 1
  if (direction) {
    walk.cells[0] = all.cells[1];
    walk.inputs += all.size;
    walk.states += all.size;
    walk.last += (long long)all.batch * all.size;
    walk.reverse = 1;
  }
#endif
  return walk;
}

// Of the step that is walked as number `step`.
DEVICE int time_of(const Walk& walk, int step) { return walk.reverse ? walk.seq_len - 1 - step : step; }

DEVICE long long place(const Walk& walk, int t, int b) { return ((long long)t * walk.batch + b) * walk.pitch; }

// How many steps are valid: -1 or seq_len + 1 where that is impossible.
DEVICE int length_of(const Walk& walk, int b) {
  if (!walk.lengths) return walk.seq_len;
  const length given = walk.lengths[b];
  return given < 0 ? -1 : given > walk.seq_len ? walk.seq_len + 1 : int(given);
}

DEVICE identifier id_at(const Walk& walk, int t, int b) {
#if TOKENS
  return walk.ids[(long long)t * walk.batch + b];
#else
  return 0;
#endif
}

// W_ax x<t>, of which an id that is out of range makes NaN; `id` is that of x<t>, if it is one.
DEVICE real input_at(const Walk& walk, int t, int b, int row, identifier id) {
#if TOKENS
  if (id < 0 || id >= walk.input_size) return not_a_number();
  return walk.cells[0].weight_ih[(long long)row * walk.input_size + id];
#else
  return walk.inputs[place(walk, t, b) + row];
#endif
}

#if BFLOAT16
DEVICE real real_of(word bits) { return float_of((unsigned int)bits << 16); }
DEVICE word word_of(real x) {  // to nearest, ties to even
  const unsigned int bits = bits_of(x);
  return x != x ? 0x7FC0 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
#elif FLOAT16
DEVICE real real_of(word bits) { return float_of(bits); }
DEVICE word word_of(real x) { return float16_of(x); }
#elif DOUBLE
DEVICE real real_of(word bits) { return double_of(bits); }
DEVICE word word_of(real x) { return bits_of(x); }
#else
DEVICE real real_of(word bits) { return float_of(bits); }
DEVICE word word_of(real x) { return bits_of(x); }
#endif

// a<t> of z = W_aa a<t-1> + W_ax x<t> + b_a.
DEVICE real next_state(const Walk& walk, real z, real before) {
#if CLIP
  z = z < -walk.clip ? -walk.clip : z;
  z = z > walk.clip ? walk.clip : z;
#endif
  real a = ACTIVATION(z, walk.alpha, walk.beta);
#if LEAK
  a = (1 - walk.leak) * before + walk.leak * a;
#endif
  return real_of(word_of(a));
}

// a<t> for a step within the length, the state before for one beyond it, and NaN where a length is impossible; keeps
// the last.
DEVICE real advanced(const Walk& walk, int t, int b, int row, int end, real z, real before) {
  const bool is_possible = end >= 0 && end <= walk.seq_len;
  const real a = !is_possible ? not_a_number() : t < end ? next_state(walk, z, before) : before;
  const int final = is_possible && end > 0 && !walk.reverse ? end - 1 : 0;
  if (t == final) walk.last[(long long)b * walk.size + row] = word_of(a);
  return a;
}
