// The activations of rnn_backends/activations.py, and the step from z to a<t>.  Every comparison with NaN is false, and
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

#if LONG_IDS
typedef long long identifier;
#else
typedef int identifier;
#endif

// The arguments of every kernel; states and inputs have the axes (seq_len, batch, size).
#define PARAMETERS                                                                                                    \
  const real *inputs, const identifier *ids, int vocabulary, const real *weight, const real *bias, const real *h_0,   \
      const int *lengths, real *states, int seq_len, int batch, int size, int reverse, real alpha, real beta, real clip, \
      real leak
#define ARGUMENTS                                                                                                     \
  { inputs, ids, vocabulary, weight, bias, h_0, lengths, states, seq_len, batch, size, reverse, alpha, beta, clip, leak }

struct Walk {
  const real* inputs;      // W_ax x<t>, or, for token ids, W_ax^T (vocabulary, size)
  const identifier* ids;   // (seq_len, batch)
  int vocabulary;
  const real* weight;      // W_aa
  const real* bias;        // or null
  const real* h_0;         // (batch, size)
  const int* lengths;      // (batch), or null
  real* states;
  int seq_len, batch, size, reverse;
  real alpha, beta, clip, leak;
};

// Of the step that is walked as number `step`.
DEVICE int time_of(const Walk& walk, int step) { return walk.reverse ? walk.seq_len - 1 - step : step; }

DEVICE long long place(const Walk& walk, int t, int b) { return ((long long)t * walk.batch + b) * walk.size; }

DEVICE int length_of(const Walk& walk, int b) { return walk.lengths ? walk.lengths[b] : walk.seq_len; }

// W_ax x<t>, of which an id that is out of range makes NaN.
DEVICE real input_at(const Walk& walk, int t, int b, int row) {
#if TOKENS
  const identifier id = walk.ids[(long long)t * walk.batch + b];
  if (id < 0 || id >= walk.vocabulary) return not_a_number();
  return walk.inputs[(long long)id * walk.size + row];
#else
  return walk.inputs[place(walk, t, b) + row];
#endif
}

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
#if HALF
  a = rounded_to_half(a);
#endif
  return a;
}
