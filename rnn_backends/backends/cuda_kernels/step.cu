// One step for which W_aa a<t-1> has been computed: for shapes that no other kernel takes.  It has been added to W_ax x<t>
// in `inputs`; of token ids, it stands alone there, at the first step.
//
// Launch: a thread for each element of the states h (directions, batch, size), which become those after the step.
// inputs may be states.
KERNEL finish_step(const Walk all, real* h) {
  const long long i = (long long)block_index() * THREADS + thread_index(), each = (long long)all.batch * all.size;
  if (i >= each * DIRECTIONS) return;
  const Walk walk = walk_of(all, int(i / each));
  const int b = int(i % each / walk.size), row = int(i % walk.size);
  const int t = time_of(walk, walk.begin), end = length_of(walk, b);
  const real* bias = walk.cells[0].bias;
  real z = bias ? bias[row] : 0;
  if (t < end) {
#if TOKENS
    z += input_at(walk, t, b, row, id_at(walk, t, b));
#endif
    z += walk.inputs[place(walk, TOKENS ? 0 : t, b) + row];
  }
  const real a = advanced(walk, t, b, row, end, z, h[i]);
  h[i] = a;
  walk.states[place(walk, t, b) + row] = t < end ? word_of(a) : 0;
}
